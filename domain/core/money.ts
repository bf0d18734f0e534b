import { z } from "zod";

/** ISO 4217 code. Intl knows the decimals of each. */
export const currencySchema = z.string().regex(/^[A-Z]{3}$/, { message: "must be an ISO 4217 code such as EUR" });

/** Integer minor units (cents); safe-integer bound. */
export const minorSchema = z.int();

const decimalsByCurrency = new Map<string, number>();

/**
 * Decimals of a currency (EUR 2, JPY 0, KWD 3).
 *
 * @param currency ISO 4217 code; an unknown one counts two, as Intl does
 */
export function decimalsOf(currency: string): number {
  let decimals = decimalsByCurrency.get(currency);
  if (decimals === undefined) {
    decimals =
      new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits ?? 2;
    decimalsByCurrency.set(currency, decimals);
  }
  return decimals;
}

/**
 * Minor units as the JSON number that stands beside them (1999 EUR → 19.99). For display: `amountMinor` is the truth.
 *
 * @param minor integer minor units
 * @param currency ISO 4217 code
 */
export function majorAmount(minor: number, currency: string): number {
  // One division of an integer by a power of ten gives the double nearest to the decimal, which prints exactly.
  return minor / 10 ** decimalsOf(currency);
}
