// @ts-check
/** Formats times in the person's language and time zone. */

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dayAndYear = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** @param {number} at */
export const timeLabel = (at) => clock.format(at);

/** @param {number} at */
export const wholeLabel = (at) => whole.format(at);

/**
 * Whether two times are on the same day in the local time zone.
 * @param {number} a
 * @param {number} b
 */
export function isSameDay(a, b) {
  return new Date(a).toDateString() === new Date(b).toDateString();
}

/**
 * When something ends.
 * @param {number} at
 * @param {number} now
 */
export const endLabel = (at, now) => (isSameDay(at, now) ? `at ${timeLabel(at)}` : `on ${wholeLabel(at)}`);

/**
 * @param {number} at
 * @param {number} now
 */
export function dayLabel(at, now) {
  if (isSameDay(at, now)) return "Today";
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  if (isSameDay(at, yesterday.getTime())) return "Yesterday";
  return (new Date(at).getFullYear() === new Date(now).getFullYear() ? day : dayAndYear).format(at);
}
