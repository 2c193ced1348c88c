// @ts-check
/** The members of a room, from one list and the presence events after it. Pure logic. */

const collator = new Intl.Collator(undefined, { sensitivity: "base", numeric: true });

export class Members {
  constructor() {
    /** @type {Set<string>} */
    this.names = new Set();
    /** The server's number of members. The list has at most 1,000 names, and large changes have none. */
    this.count = 0;
    /** Whether the list has arrived. */
    this.listed = false;
    this.truncated = false;
    /** @type {string[] | null} */
    this.sortedNames = null;
  }

  /** @param {{clientIds: string[], count: number, truncated: boolean}} list */
  list({ clientIds, count, truncated }) {
    this.names = new Set(clientIds);
    this.count = count;
    this.truncated = truncated;
    this.listed = true;
    this.sortedNames = null;
  }

  /** @param {{joined: string[], left: string[], count: number}} change */
  change({ joined, left, count }) {
    for (const name of left) this.names.delete(name);
    for (const name of joined) this.names.add(name);
    this.count = count;
    this.sortedNames = null;
  }

  /** Whether names and number do not match, so that the list has to be requested again. */
  get isStale() {
    return this.truncated ? this.count <= this.names.size : this.names.size !== this.count;
  }

  /** The names in alphabetical order. */
  get sorted() {
    this.sortedNames ??= [...this.names].sort((a, b) => collator.compare(a, b) || (a < b ? -1 : 1));
    return this.sortedNames;
  }
}
