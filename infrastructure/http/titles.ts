import type { ProblemCode } from "./problem-details.js";

/** English titles; the compiler asks for one with every new code. */
const english: Readonly<Record<ProblemCode, string>> = {
  ACCOUNT_LOCKED: "This account is locked",
  BODY_TOO_LARGE: "The request body is too large",
  CUSTOMER_NOT_FOUND: "There is no such customer",
  CUSTOMER_PRINCIPAL_REQUIRED: "Only a customer may do this",
  EMAIL_CHANGE_NEEDS_VERIFICATION: "A new e-mail address must be verified first",
  EMPTY_UPDATE: "The update names no field that can be changed",
  IDEMPOTENCY_KEY_INVALID: "The Idempotency-Key header is not valid",
  IDEMPOTENCY_KEY_REUSED: "This Idempotency-Key was used for another request",
  INTERNAL_ERROR: "Something went wrong on our side",
  INVALID_QUERY: "A query parameter is not valid",
  MALFORMED_JSON: "The request body is not valid JSON",
  MALFORMED_REQUEST: "The request is not valid HTTP",
  METADATA_TOO_LARGE: "The metadata is too large",
  METHOD_NOT_ALLOWED: "This method is not allowed here",
  NOT_ACCEPTABLE: "None of the accepted media types can be served",
  NO_CUSTOMER_RECORD: "This user has no customer record",
  ORDER_NOT_FOUND: "There is no such order",
  ORG_MISMATCH: "The token belongs to another organisation",
  ORG_REQUIRED: "The orgid header is missing or not valid",
  PAGE_TOO_DEEP: "This page is too deep; use the cursor",
  PHOTO_NOT_USABLE: "This file cannot be used as a photo",
  PRECONDITION_FAILED: "The record has changed since the version named",
  PRODUCT_NOT_FOUND: "There is no such product",
  PROJECTION_BEHIND: "The change is not visible yet",
  PROVIDER_ERROR: "An outside service gave an unusable answer",
  PROVIDER_UNAVAILABLE: "An outside service is not available",
  RATE_LIMITED: "Too many requests",
  REQUEST_TIMEOUT: "The request took too long to arrive",
  ROUTE_NOT_FOUND: "There is nothing at this address",
  SERVICE_PRINCIPAL_REQUIRED: "Only a service may do this",
  SORT_NOT_ALLOWED: "The list cannot be sorted by this field",
  STORE_UNAVAILABLE: "The service is briefly unavailable",
  TRANSACTION_NOT_FOUND: "There is no such transaction",
  UNAUTHENTICATED: "A valid access token is required",
  UNKNOWN_FIELD: "The request has fields that are not known",
  UNSUPPORTED_MEDIA_TYPE: "The media type of the body is not supported",
  VALIDATION_FAILED: "Some fields are not valid",
  VERSION_CONFLICT: "The record has changed since the version named",
  WISHLIST_FULL: "The wishlist is full",
  WISHLIST_ITEM_NOT_FOUND: "This product is not on the wishlist",
};

/** Titles in other languages, all of them: what is said in one must not be half in another. */
const translations: Readonly<Record<string, Readonly<Record<ProblemCode, string>>>> = {
  de: {
    ACCOUNT_LOCKED: "Dieses Konto ist gesperrt",
    BODY_TOO_LARGE: "Die Anfrage ist zu groß",
    CUSTOMER_NOT_FOUND: "Diesen Kunden gibt es nicht",
    CUSTOMER_PRINCIPAL_REQUIRED: "Das darf nur ein Kunde",
    EMAIL_CHANGE_NEEDS_VERIFICATION: "Eine neue E-Mail-Adresse muss erst bestätigt werden",
    EMPTY_UPDATE: "Die Änderung nennt kein änderbares Feld",
    IDEMPOTENCY_KEY_INVALID: "Der Idempotency-Key ist ungültig",
    IDEMPOTENCY_KEY_REUSED: "Dieser Idempotency-Key wurde für eine andere Anfrage benutzt",
    INTERNAL_ERROR: "Bei uns ist etwas schiefgegangen",
    INVALID_QUERY: "Ein Abfrageparameter ist ungültig",
    MALFORMED_JSON: "Die Anfrage ist kein gültiges JSON",
    MALFORMED_REQUEST: "Die Anfrage ist kein gültiges HTTP",
    METADATA_TOO_LARGE: "Die Metadaten sind zu groß",
    METHOD_NOT_ALLOWED: "Diese Methode ist hier nicht erlaubt",
    NOT_ACCEPTABLE: "Keiner der gewünschten Medientypen ist lieferbar",
    NO_CUSTOMER_RECORD: "Zu diesem Benutzer gibt es keinen Kunden",
    ORDER_NOT_FOUND: "Diese Bestellung gibt es nicht",
    ORG_MISMATCH: "Die Anmeldung gehört zu einer anderen Organisation",
    ORG_REQUIRED: "Der Header orgid fehlt oder ist ungültig",
    PAGE_TOO_DEEP: "Diese Seite liegt zu weit hinten; der Cursor führt weiter",
    PHOTO_NOT_USABLE: "Diese Datei taugt nicht als Foto",
    PRECONDITION_FAILED: "Der Datensatz hat sich inzwischen geändert",
    PRODUCT_NOT_FOUND: "Dieses Produkt gibt es nicht",
    PROJECTION_BEHIND: "Die Änderung ist noch nicht sichtbar",
    PROVIDER_ERROR: "Ein fremder Dienst hat unbrauchbar geantwortet",
    PROVIDER_UNAVAILABLE: "Ein fremder Dienst ist nicht erreichbar",
    RATE_LIMITED: "Zu viele Anfragen",
    REQUEST_TIMEOUT: "Die Anfrage kam zu langsam an",
    ROUTE_NOT_FOUND: "Unter dieser Adresse gibt es nichts",
    SERVICE_PRINCIPAL_REQUIRED: "Das darf nur ein Dienst",
    SORT_NOT_ALLOWED: "Nach diesem Feld kann nicht sortiert werden",
    STORE_UNAVAILABLE: "Der Dienst ist gerade nicht erreichbar",
    TRANSACTION_NOT_FOUND: "Diese Buchung gibt es nicht",
    UNAUTHENTICATED: "Eine gültige Anmeldung ist nötig",
    UNKNOWN_FIELD: "Die Anfrage enthält unbekannte Felder",
    UNSUPPORTED_MEDIA_TYPE: "Dieser Medientyp wird nicht angenommen",
    VALIDATION_FAILED: "Einige Angaben sind ungültig",
    VERSION_CONFLICT: "Der Datensatz hat sich inzwischen geändert",
    WISHLIST_FULL: "Die Merkliste ist voll",
    WISHLIST_ITEM_NOT_FOUND: "Dieses Produkt steht nicht auf der Merkliste",
  },
};

/** Title of a code in a language of {@link preferredLanguage}. */
export function titleOf(code: ProblemCode, language: string): string {
  return translations[language]?.[code] ?? english[code];
}

/**
 * The language to answer in: the highest-ranked one of `Accept-Language` (RFC 9110 §12.5.4) that we have titles in.
 *
 * @param header the raw header; anything unreadable in it is passed over
 * @returns a primary language subtag, `en` when nothing fits
 */
export function preferredLanguage(header: string | undefined): string {
  let best = "en";
  let bestQuality = 0;
  for (const range of (header ?? "").slice(0, 500).split(",")) {
    const match = /^\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9]{1,8})*\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?$/.exec(
      range,
    );
    const language = match?.[1]?.toLowerCase();
    const quality = Number(match?.[2] ?? 1);
    if (language && quality > bestQuality && (language === "en" || Object.hasOwn(translations, language))) {
      best = language;
      bestQuality = quality;
    }
  }
  return best;
}
