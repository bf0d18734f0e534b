import type { Message } from "#infrastructure/providers/smtp.js";
import { type Language, messageOf } from "./message.js";

/** What the messages of verification are made of. */
export type CodeInWords = { readonly code: string; readonly minutes: number };

/** The mail that carries a code to the address it proves. */
export function codeMail({ code, minutes }: CodeInWords, language: Language): Message {
  const { subject, before, after } = codeTexts[language];
  return messageOf(subject, [before, { standsOut: code }, ...after(minutes)], language);
}

/** The mail that carries a code to the address a customer wants to change to. */
export function newAddressMail({ code, minutes }: CodeInWords, language: Language): Message {
  const { subject, before, after } = newAddressTexts[language];
  return messageOf(subject, [before, { standsOut: code }, ...after(minutes)], language);
}

/**
 * The notice to the address a customer has until now.
 *
 * @param newAddress masked: whoever reads this mailbox need not learn it
 */
export function oldAddressMail(newAddress: string, language: Language): Message {
  const { subject, paragraphs } = oldAddressTexts[language];
  return messageOf(subject, paragraphs(newAddress), language);
}

/** The text message that carries a code; short enough for one SMS of the GSM alphabet. */
export function codeSms({ code, minutes }: CodeInWords, language: Language): string {
  return language === "de"
    ? `${code} ist Ihr Bestätigungscode. Er gilt ${minutes} Minuten. Geben Sie ihn niemandem weiter.`
    : `${code} is your verification code. It is valid for ${minutes} minutes. Do not share it with anyone.`;
}

const codeTexts = {
  en: {
    subject: "Your verification code",
    before: "Please confirm your e-mail address with this code:",
    after: (minutes: number) => [
      `It is valid for ${minutes} minutes. Do not share it with anyone; we never ask for it.`,
      "If you did not ask for it, you can ignore this message.",
    ],
  },
  de: {
    subject: "Ihr Bestätigungscode",
    before: "Bitte bestätigen Sie Ihre E-Mail-Adresse mit diesem Code:",
    after: (minutes: number) => [
      `Er gilt ${minutes} Minuten. Geben Sie ihn niemandem weiter; wir fragen nie danach.`,
      "Wenn Sie ihn nicht angefordert haben, können Sie diese Nachricht ignorieren.",
    ],
  },
} as const;

const newAddressTexts = {
  en: {
    subject: "Confirm your new e-mail address",
    before: "Somebody, hopefully you, wants to use this e-mail address for an account. To confirm it, enter this code:",
    after: codeTexts.en.after,
  },
  de: {
    subject: "Bestätigen Sie Ihre neue E-Mail-Adresse",
    before:
      "Jemand, hoffentlich Sie, möchte diese E-Mail-Adresse für ein Konto verwenden. Zum Bestätigen geben Sie diesen Code ein:",
    after: codeTexts.de.after,
  },
} as const;

const oldAddressTexts = {
  en: {
    subject: "Your e-mail address is about to change",
    paragraphs: (newAddress: string) => [
      `Somebody signed in to your account wants to change its e-mail address to ${newAddress}.`,
      "If it was you, there is nothing to do here: enter the code that was sent to the new address.",
      "If it was not you, change your password now and tell us. As long as nobody enters that code, nothing changes.",
    ],
  },
  de: {
    subject: "Ihre E-Mail-Adresse soll geändert werden",
    paragraphs: (newAddress: string) => [
      `Jemand, der in Ihrem Konto angemeldet ist, möchte dessen E-Mail-Adresse in ${newAddress} ändern.`,
      "Wenn Sie das waren, ist hier nichts zu tun: Geben Sie den Code ein, der an die neue Adresse gesendet wurde.",
      "Wenn Sie es nicht waren, ändern Sie jetzt Ihr Passwort und sagen Sie uns Bescheid. Solange niemand den Code eingibt, ändert sich nichts.",
    ],
  },
} as const;
