// @ts-check
/** Where this page is: on which host and below which path. Everything that it asks for is relative to that. */

/** The page's address without a query, ending with a slash. */
export const base = new URL(".", location.href);

/** The host and the path, as a person reads them. */
export const shownPlace = base.host + base.pathname.replace(/\/$/u, "");
