/** The few assertions that the cases need, for browsers too. */

const same = (a, b) => {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || !a || !b) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => same(a[key], b[key]));
};
const shown = (value) => (typeof value === "function" ? value.name : JSON.stringify(value));

export function ok(value, message = "not true") {
  if (!value) throw new Error(message);
}
export const equal = (a, b) => ok(Object.is(a, b), `${shown(a)} is not ${shown(b)}`);
export const notEqual = (a, b) => ok(!Object.is(a, b), `both are ${shown(a)}`);
export const deepEqual = (a, b) => ok(same(a, b), `${shown(a)} is not ${shown(b)}`);

/** A promise is rejected: with an error of a class, or with some properties, or that a function takes. */
export async function rejects(promise, wanted) {
  let error;
  try {
    await promise;
  } catch (caught) {
    error = caught;
  }
  ok(error !== undefined, "it was not rejected");
  if (typeof wanted === "object") {
    for (const [key, value] of Object.entries(wanted)) deepEqual(error[key], value);
  } else if (wanted.prototype instanceof Error || wanted === Error) {
    ok(error instanceof wanted, `${error} is no ${wanted.name}`);
  } else {
    ok(wanted(error), `${error} is another error`);
  }
}
