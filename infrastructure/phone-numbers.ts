import { parsePhoneNumberFromString } from "libphonenumber-js/max";

/** What a number's numbering plan says of it. */
export type PhoneNumber = {
  /** ISO 3166-1 alpha-2; undefined for numbers of no country (satellite, freephone of many). */
  readonly country: string | undefined;
  /** Whether text messages may reach it; premium, shared-cost and fixed lines are out. */
  readonly takesTextMessages: boolean;
};

/** Fixed lines and mobiles share ranges in North America, so the plan cannot tell them apart there. */
const textable: readonly unknown[] = ["MOBILE", "FIXED_LINE_OR_MOBILE"];

/**
 * Looks an E.164 number up in its numbering plan.
 *
 * @returns null when no plan knows such a number
 */
export function lookUpNumber(e164: string): PhoneNumber | null {
  const number = parsePhoneNumberFromString(e164);
  if (!number?.isValid()) return null;
  return { country: number.country, takesTextMessages: textable.includes(number.getType()) };
}

/**
 * Whether a number has a length that its country's plan allows. Plans change faster than any copy of them, so a
 * customer's own number is judged by no more than this.
 */
export function isPossibleNumber(e164: string): boolean {
  return parsePhoneNumberFromString(e164)?.isPossible() ?? false;
}
