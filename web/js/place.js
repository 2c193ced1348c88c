// @ts-check
/** The address of this page. All its requests are relative to it. */

/** The page's address without a query, ending with a slash. */
export const base = new URL(".", location.href);

/** The host and the path, for people. */
export const shownPlace = base.host + base.pathname.replace(/\/$/u, "");
