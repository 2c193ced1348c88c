// @ts-check
/** Creates nodes. No function here parses text as HTML. */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {{[attribute: string]: string | number | boolean | null | undefined | ((event: any) => void)}} [attributes]
 *   a function is a listener of the event with that name; `false`, `null`: no attribute
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/**
 * The element of the page with this id.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const node = document.getElementById(id);
  if (!(node instanceof type)) throw new TypeError(`the page has no ${type.name} #${id}`);
  return node;
}

/**
 * An icon of the page's own set (icons.svg).
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/**
 * A function that runs `work` once before the next frame is drawn, however often it is called.
 * @param {() => void} work
 */
export function oncePerFrame(work) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      work();
    });
  };
}

/**
 * One of the colours of names (theme.css), always the same for the same name.
 * @param {string} name
 */
export function hueClass(name) {
  let hash = 2_166_136_261;
  for (let index = 0; index < name.length; index += 1) hash = Math.imul(hash ^ name.charCodeAt(index), 16_777_619);
  return `hue-${(hash >>> 8) % 10}`;
}

/** @param {string} name */
export function avatar(name) {
  const letters = name.replace(/^guest-/u, "").slice(0, 1).toUpperCase();
  return el("span", { class: `avatar ${hueClass(name)}`, "aria-hidden": "true" }, letters);
}
