/** A payment method as Stripe's wire has it, without its id and its owner. */
export type TestMethod = {
  readonly type: "card" | "us_bank_account" | "alipay";
  readonly details: Readonly<Record<string, unknown>>;
};

export type Decline = { readonly code: string; readonly decline_code?: string };

/** Test cards expire at the end of next year. */
const expiry = () => ({ exp_month: 12, exp_year: new Date().getUTCFullYear() + 1 });

function card(brand: string, last4: string, more: Readonly<Record<string, unknown>> = {}): () => TestMethod {
  return () => ({ type: "card", details: { brand, last4, funding: "credit", country: "US", ...expiry(), ...more } });
}

/** Stripe's test methods (docs: "Testing"); each use of one makes a payment method of its own. */
const testMethods: Readonly<Record<string, () => TestMethod>> = {
  pm_card_visa: card("visa", "4242"),
  pm_card_visa_debit: card("visa", "5556", { funding: "debit" }),
  pm_card_mastercard: card("mastercard", "4444"),
  pm_card_mastercard_debit: card("mastercard", "3222", { funding: "debit" }),
  pm_card_mastercard_prepaid: card("mastercard", "5100", { funding: "prepaid" }),
  pm_card_amex: card("amex", "8431"),
  pm_card_discover: card("discover", "9424"),
  pm_card_diners: card("diners", "0004"),
  pm_card_jcb: card("jcb", "0505"),
  pm_card_unionpay: card("unionpay", "0005"),
  pm_card_de: card("visa", "0016", { country: "DE" }),
  pm_card_fr: card("visa", "0003", { country: "FR" }),
  pm_card_gb: card("visa", "0008", { country: "GB" }),
  pm_card_authenticationRequired: card("visa", "3184"),
  pm_card_threeDSecure2Required: card("visa", "3220"),
  pm_card_chargeCustomerFail: card("visa", "0341"),
  pm_card_chargeDeclined: card("visa", "0002"),
  pm_card_chargeDeclinedInsufficientFunds: card("visa", "9995"),
  pm_card_chargeDeclinedLostCard: card("visa", "9987"),
  pm_card_chargeDeclinedStolenCard: card("visa", "9979"),
  pm_card_chargeDeclinedExpiredCard: card("visa", "0069"),
  pm_card_chargeDeclinedIncorrectCvc: card("visa", "0127"),
  pm_card_chargeDeclinedProcessingError: card("visa", "0119"),
  pm_card_chargeDeclinedFraudulent: card("visa", "4954"),
  pm_card_chargeDeclinedVelocityLimitExceeded: card("visa", "6975"),
  pm_usBankAccount: () => ({
    type: "us_bank_account",
    details: { bank_name: "STRIPE TEST BANK", last4: "6789", account_type: "checking", routing_number: "110000000" },
  }),
  pm_alipay: () => ({ type: "alipay", details: {} }),
};

/** Cards that cannot be attached to a customer, by their last four digits: they are declined when they are checked. */
const declines: Readonly<Record<string, Decline>> = {
  "0002": { code: "card_declined", decline_code: "generic_decline" },
  "9995": { code: "card_declined", decline_code: "insufficient_funds" },
  "9987": { code: "card_declined", decline_code: "lost_card" },
  "9979": { code: "card_declined", decline_code: "stolen_card" },
  "0069": { code: "expired_card", decline_code: "expired_card" },
  "0127": { code: "incorrect_cvc", decline_code: "incorrect_cvc" },
  "0119": { code: "processing_error", decline_code: "processing_error" },
  "4954": { code: "card_declined", decline_code: "fraudulent" },
  "6975": { code: "card_declined", decline_code: "card_velocity_exceeded" },
};

/** What a name of a test method (`pm_card_visa`) or a test token (`tok_visa`) stands for; undefined for no such name. */
export function testMethod(name: string): TestMethod | undefined {
  const known = name.startsWith("tok_") ? name.replace("tok_", "pm_card_") : name;
  return Object.hasOwn(testMethods, known) ? testMethods[known]?.() : undefined;
}

/** How the checks of a card end; undefined when they pass. */
export function declineOf(last4: unknown): Decline | undefined {
  return typeof last4 === "string" && Object.hasOwn(declines, last4) ? declines[last4] : undefined;
}
