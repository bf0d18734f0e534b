/**
 * Card numbers and security codes belong to the payment provider. Whoever sends them here by mistake is refused before
 * anything else looks at them, so that they reach no log, no event and no error.
 */

/** Names of fields that hold nothing but card data, without separators and in lower case. */
const cardFields =
  /^(card)?(number|pan|primaryaccountnumber|cvc2?|cvv2?|csc|cid|securitycode|verificationcode|track[12]?(data)?|magstripe)$/;

/** Twelve to nineteen digits, also in groups, that are no part of a longer word. */
const digitRuns = /(?<![A-Za-z0-9])\d(?:[ ._-]?\d){11,18}(?![A-Za-z0-9])/g;

/** A security code that is called so. */
const namedCode = /\b(cvc|cvv|csc|security code)2?\W{0,3}\d{3,4}\b/i;

/** Things inside things, at most; deeper than any request of ours. */
const deepest = 32;

/** Whether a JSON value has, anywhere in it, what looks like a card number or a security code. */
export function hasCardData(value: unknown, depth = 0): boolean {
  if (typeof value === "string") return hasCardNumber(value) || namedCode.test(value);
  if (typeof value === "number") return hasCardNumber(String(value));
  if (typeof value !== "object" || value === null) return false;
  // What is nested so deeply is no request of ours, and is refused with what it may hold.
  if (depth > deepest) return true;
  if (Array.isArray(value)) return value.some((inner) => hasCardData(inner, depth + 1));
  return Object.entries(value).some(([name, inner]) => {
    const isCardField = cardFields.test(name.toLowerCase().replace(/[^a-z0-9]/g, ""));
    const holdsValue = typeof inner === "number" || (typeof inner === "string" && inner !== "");
    return (isCardField && holdsValue) || hasCardData(name, depth + 1) || hasCardData(inner, depth + 1);
  });
}

function hasCardNumber(text: string): boolean {
  return (text.match(digitRuns) ?? []).some((run) => passesLuhn(run.replace(/\D/g, "")));
}

/** ISO/IEC 7812-1 annex B. */
function passesLuhn(digits: string): boolean {
  let sum = 0;
  for (let index = 0; index < digits.length; index++) {
    const digit = Number(digits[digits.length - 1 - index]);
    sum += index % 2 === 0 ? digit : digit < 5 ? digit * 2 : digit * 2 - 9;
  }
  // All zeros pass the sum and are no card.
  return sum > 0 && sum % 10 === 0;
}
