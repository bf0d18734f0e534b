/** A customer of the local organisation, offered on the sign-in page and filled with sample data. */
export type Person = {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly phone: string;
  readonly language: string;
  readonly timezone: string;
};

/** The organisation of the local stack. */
export const localOrg = "acme";

export const people: readonly Person[] = [
  {
    id: "cst-7Q2M4",
    name: "Ada Okafor",
    email: "ada.okafor@example.com",
    phone: "+12025550143",
    language: "en",
    timezone: "America/New_York",
  },
  {
    id: "cst-K81XB",
    name: "Jonas Lindqvist",
    email: "jonas.lindqvist@example.com",
    phone: "+46701740605",
    language: "sv",
    timezone: "Europe/Stockholm",
  },
  {
    id: "cst-3ZD9P",
    name: "Mei Tanaka",
    email: "mei.tanaka@example.com",
    phone: "+818012345678",
    language: "ja",
    timezone: "Asia/Tokyo",
  },
];
