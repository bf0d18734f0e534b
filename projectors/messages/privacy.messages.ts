import type { Message } from "#infrastructure/providers/smtp.js";
import { type Language, messageOf } from "./message.js";

/** The mail that says when an erasure takes effect, and how it is taken back. */
export function erasureMail(effectiveAt: string, language: Language): Message {
  const { subject, paragraphs } = erasureTexts[language];
  return messageOf(subject, paragraphs(dayIn(effectiveAt, language)), language);
}

/** The mail that says that an export can be fetched; without its link, which would be a key to everything. */
export function exportMail(expiresAt: string, language: Language): Message {
  const { subject, paragraphs } = exportTexts[language];
  return messageOf(subject, paragraphs(dayIn(expiresAt, language)), language);
}

function dayIn(instant: string, language: Language): string {
  const locale = language === "de" ? "de-DE" : "en-GB";
  return new Intl.DateTimeFormat(locale, { dateStyle: "long", timeZone: "UTC" }).format(new Date(instant));
}

const erasureTexts = {
  en: {
    subject: "Your account will be erased",
    paragraphs: (day: string) => [
      `You asked us to erase your account. It will be erased for good on ${day}; until then it is locked.`,
      "If you change your mind, sign in before that day and take the request back.",
      "If this was not you, please sign in, take it back and change your password.",
    ],
  },
  de: {
    subject: "Ihr Konto wird gelöscht",
    paragraphs: (day: string) => [
      `Sie haben uns gebeten, Ihr Konto zu löschen. Es wird am ${day} endgültig gelöscht; bis dahin ist es gesperrt.`,
      "Wenn Sie es sich anders überlegen, melden Sie sich vor diesem Tag an und nehmen Sie den Wunsch zurück.",
      "Wenn Sie das nicht waren, melden Sie sich bitte an, nehmen Sie ihn zurück und ändern Sie Ihr Passwort.",
    ],
  },
} as const;

const exportTexts = {
  en: {
    subject: "The copy of your data is ready",
    paragraphs: (day: string) => [
      `The copy of your data that you asked for is ready. You can fetch it from your account until ${day}.`,
      "If this was not you, please change your password.",
    ],
  },
  de: {
    subject: "Die Kopie Ihrer Daten liegt bereit",
    paragraphs: (day: string) => [
      `Die Kopie Ihrer Daten, um die Sie gebeten haben, liegt bereit. Sie können sie bis zum ${day} in Ihrem Konto abholen.`,
      "Wenn Sie das nicht waren, ändern Sie bitte Ihr Passwort.",
    ],
  },
} as const;
