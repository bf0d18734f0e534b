import type { StackFile } from "./stack.js";
import { type Person, people } from "./people.js";
import { sampleFiles } from "./sample-files.js";

/**
 * Believable customers for a new, empty stack: what a shop would have told us of them, through `/internal/ingest/batch`,
 * and what they did themselves, through the gateway. Nothing here knows a store, so it can do no more than an
 * integrator could; ingest ignores repeats, so a load that was interrupted is simply done again.
 */

type Line = { readonly path: string; readonly body: Record<string, unknown> };
type Home = { readonly currency: string; readonly factor: number; readonly address: Record<string, string> };

/** Where each of the people lives, and what a dollar's worth costs there in minor units. */
const homes: Record<string, Home> = {
  "cst-7Q2M4": {
    currency: "USD",
    factor: 100,
    address: { line1: "418 Garfield Place", city: "Brooklyn", region: "NY", postalCode: "11215", country: "US" },
  },
  "cst-K81XB": {
    currency: "SEK",
    factor: 1_100,
    address: { line1: "Hornsgatan 64", city: "Stockholm", postalCode: "118 21", country: "SE" },
  },
  "cst-3ZD9P": {
    currency: "JPY",
    factor: 150,
    address: { line1: "Jingumae 3-12-5", city: "Shibuya", region: "Tokyo", postalCode: "150-0001", country: "JP" },
  },
};

/** The catalogue: id, name, price in dollars, in stock. */
const products = [
  ["espresso-machine-duo", "Espresso machine Duo", 449, true],
  ["grinder-fine-40", "Burr grinder Fine 40", 189, true],
  ["kettle-gooseneck", "Gooseneck kettle", 79, true],
  ["dripper-ceramic", "Ceramic dripper", 24, true],
  ["filters-100", "Paper filters, 100 pieces", 6, true],
  ["beans-huila-1kg", "Coffee beans Huila, 1 kg", 29, true],
  ["beans-sidamo-1kg", "Coffee beans Sidamo, 1 kg", 31, true],
  ["beans-decaf-500g", "Coffee beans decaf, 500 g", 18, false],
  ["cup-double-wall", "Double-wall cup, set of 2", 22, true],
  ["mug-enamel", "Enamel mug", 14, true],
  ["scale-brew", "Brewing scale", 59, true],
  ["milk-jug-350", "Milk jug 350 ml", 19, true],
  ["travel-press", "Travel press", 35, false],
  ["descaler", "Descaler, 3 doses", 12, true],
] as const;

/** Orders: how many days ago, where they have got to, and of which products how many. */
const orders = [
  [412, "completed", { "espresso-machine-duo": 1, "milk-jug-350": 1 }],
  [398, "completed", { "beans-huila-1kg": 2 }],
  [355, "completed", { "grinder-fine-40": 1, "beans-sidamo-1kg": 1 }],
  [301, "refunded", { "travel-press": 1 }],
  [240, "completed", { "beans-huila-1kg": 2, "filters-100": 2 }],
  [187, "completed", { "cup-double-wall": 2, "mug-enamel": 1 }],
  [131, "cancelled", { "beans-decaf-500g": 4 }],
  [96, "completed", { "beans-sidamo-1kg": 3, descaler: 1 }],
  [41, "delivered", { "scale-brew": 1 }],
  [12, "shipped", { "beans-huila-1kg": 2, "filters-100": 1 }],
  [2, "processing", { "kettle-gooseneck": 1, "dripper-ceramic": 1 }],
] as const;

/** Wallet entries: days ago, type, status, dollars (below zero: a debit), what for. */
const walletEntries = [
  [400, "referral", "completed", 15, "A friend's first order"],
  [297, "refund", "completed", 35, "Travel press returned"],
  [186, "payment", "completed", -20, "Part of an order"],
  [95, "bonus", "completed", 10, "One year with us"],
  [40, "payment", "completed", -12, "Part of an order"],
  [6, "bonus", "pending", 5, "Review of a brewing scale"],
] as const;

const dayMs = 24 * 3600 * 1000;

const weekdayHours = (...hours: { start: string; end: string }[]) =>
  Object.fromEntries(["mon", "tue", "wed", "thu", "fri"].map((day) => [day, hours]));

/** What can be booked: a person's advice, and a course with places for six. */
const bookable = [
  {
    id: "consultation",
    definition: { title: "Coffee consultation", durationMinutes: 30, slotStepMinutes: 30, cancelNoticeMinutes: 120 },
    resource: {
      name: "Mara, barista",
      timezone: "America/New_York",
      weeklyHours: weekdayHours({ start: "09:00", end: "12:00" }, { start: "13:00", end: "17:00" }),
    },
  },
  {
    id: "latte-art",
    definition: {
      ...{ title: "Latte art course", durationMinutes: 120, slotStepMinutes: 60, bufferMinutes: 30, maxPartySize: 4 },
      ...{ priceMinor: 6_500, currency: "USD", minNoticeMinutes: 60, cancelNoticeMinutes: 1_440 },
    },
    resource: {
      ...{ name: "Training kitchen", timezone: "America/New_York", capacity: 6 },
      weeklyHours: { fri: [{ start: "16:00", end: "21:00" }], sat: [{ start: "10:00", end: "18:00" }] },
    },
  },
] as const;

/** Everything the shop tells of these people, as lines of a batch. */
function platformLines(now: Date): Line[] {
  const revision = { sourceRevision: 1 };
  // Each customer began a little later than the one before and orders at an hour of their own.
  const at = (daysAgo: number, person: number) =>
    new Date(now.getTime() - daysAgo * dayMs - person * 7 * 3600 * 1000).toISOString();

  const catalogue = products.map(
    ([id, name, price, inStock]): Line => ({
      path: `products/${id}`,
      body: { ...revision, name, slug: id, priceMinor: price * 100, currency: "USD", inStock },
    }),
  );
  const appointments = bookable.flatMap(({ id, definition, resource }): Line[] => [
    { path: `resources/${id}-1`, body: { ...revision, ...resource } },
    { path: `definitions/${id}`, body: { ...revision, ...definition, resourceIds: [`${id}-1`] } },
  ]);
  return [
    ...catalogue,
    ...appointments,
    ...people.flatMap((person, index) => personLines(person, index, at, revision)),
  ];
}

function personLines(
  person: Person,
  index: number,
  at: (daysAgo: number, person: number) => string,
  revision: object,
): Line[] {
  const { currency, factor, address } = homes[person.id] as Home;
  const priceOf = (id: string) => Math.round((products.find(([product]) => product === id)?.[2] ?? 0) * factor);
  const { id: _, ...profile } = person;
  const customer: Line = { path: `customers/${person.id}`, body: { ...revision, ...profile, emailVerified: true } };

  const orderLines = orders.slice(index * 2).map(([daysAgo, status, wanted], number): Line => {
    const items = Object.entries(wanted).map(([sku, quantity]) => ({
      sku,
      productId: sku,
      title: products.find(([product]) => product === sku)?.[1] ?? sku,
      quantity,
      unitPriceMinor: priceOf(sku),
    }));
    const orderNumber = `${index + 1}0${String(number + 1).padStart(3, "0")}`;
    return {
      path: `orders/ord-${orderNumber}`,
      body: {
        ...revision,
        customerId: person.id,
        orderNumber,
        status,
        placedAt: at(daysAgo, index),
        statusAt: at(Math.max(daysAgo - 3, 0.5), index),
        currency,
        totalMinor: items.reduce((sum, { quantity, unitPriceMinor }) => sum + quantity * unitPriceMinor, 0),
        items,
        shippingAddress: { name: person.name, ...address },
        paymentMethod: { type: "card", brand: "visa", last4: "4242" },
        ...(status === "shipped"
          ? { shipments: [{ carrier: "Postal service", tracking: `TR${orderNumber}`, status: "in transit" }] }
          : {}),
      },
    };
  });
  const transactions = walletEntries.map(([daysAgo, type, status, dollars, description], number): Line => {
    return {
      path: `transactions/txn-${index + 1}0${String(number + 1).padStart(3, "0")}`,
      body: {
        ...revision,
        customerId: person.id,
        type,
        status,
        amountMinor: Math.abs(dollars) * factor,
        direction: dollars < 0 ? "debit" : "credit",
        currency,
        createdAt: at(daysAgo, index),
        description,
      },
    };
  });
  return [customer, ...orderLines, ...transactions];
}

/** Where else they have things sent. */
const otherAddresses: Record<string, Record<string, string>> = {
  "cst-7Q2M4": {
    label: "Office",
    company: "Bay Roasters",
    line1: "1190 Valencia Street",
    line2: "Suite 4",
    city: "San Francisco",
    region: "CA",
    postalCode: "94110",
    country: "US",
  },
  "cst-K81XB": {
    label: "Sommarhus",
    line1: "Strandvägen 3",
    city: "Vaxholm",
    postalCode: "185 31",
    country: "SE",
    instructions: "Leave it in the shed",
  },
};

/** What Stripe's page would have collected, by the names of its test methods; never in an account somebody gave us. */
const testCards =
  process.env.STRIPE_SECRET_KEY || process.env.STRIPE_API_BASE || process.env.ORG_SETTINGS_FILE
    ? []
    : ["pm_card_visa", "pm_card_mastercard"];

/** What the people put on their wishlists. */
const wishes = ["scale-brew", "travel-press", "beans-decaf-500g"];

/**
 * Loads the sample data and waits until every dashboard shows them.
 *
 * @throws Error naming the request that was refused
 */
export async function loadSampleData(stack: StackFile, now = new Date()): Promise<void> {
  const batch = await call("POST", `${stack.commandApi}/internal/ingest/batch`, stack.org, stack.serviceToken, {
    contentType: "application/x-ndjson",
    body: platformLines(now)
      .map((line) => `${JSON.stringify(line)}\n`)
      .join(""),
  });
  const refused = (await batch.text()).split("\n").find((line) => line !== "" && JSON.parse(line).status !== 200);
  if (refused) throw new Error(`the sample data were refused: ${refused}`);

  await Promise.all(
    stack.customers.map(async ({ token }, index) => {
      const positions = [batch.headers.get("x-log-position")];
      for (const product of wishes.slice(index)) {
        const wish = await call("POST", `${stack.gateway}/client-data/wishlist/${product}`, stack.org, token, {
          contentType: "application/json",
          body: JSON.stringify({ notify: { priceDrop: true } }),
        });
        positions.push(wish.headers.get("x-log-position"));
        await wish.body?.cancel();
      }
      const person = people[index];
      const home = { label: "Home", name: person?.name, phone: person?.phone, ...homes[person?.id ?? ""]?.address };
      for (const address of [home, otherAddresses[person?.id ?? ""]]) {
        if (!address) continue;
        const saved = await call("POST", `${stack.gateway}/client-data/addresses`, stack.org, token, {
          contentType: "application/json",
          body: JSON.stringify(address),
        });
        positions.push(saved.headers.get("x-log-position"));
        await saved.body?.cancel();
      }
      for (const paymentMethodId of testCards.slice(0, 1 + (index % 2))) {
        const saved = await call("POST", `${stack.gateway}/client-data/payment-methods`, stack.org, token, {
          contentType: "application/json",
          body: JSON.stringify({ paymentMethodId }),
          headers: { "idempotency-key": `sample-${paymentMethodId}` },
        });
        positions.push(saved.headers.get("x-log-position"));
        await saved.body?.cancel();
      }
      for (const { name, location, type, bytes } of sampleFiles(person?.name ?? "")) {
        const form = new FormData();
        form.append("location", location);
        form.append("file", new Blob([bytes], { type }), name);
        const kept = await call("POST", `${stack.gateway}/client-data/files/upload`, stack.org, token, { body: form });
        positions.push(kept.headers.get("x-log-position"));
        await kept.body?.cancel();
      }
      const seen = await call("GET", `${stack.gateway}/client-data/dashboard`, stack.org, token, {
        headers: { "x-min-log-position": positions.filter(Boolean).join(","), prefer: "wait=10" },
      });
      await seen.body?.cancel();
    }),
  );
}

async function call(
  method: string,
  url: string,
  org: string,
  token: string,
  options: { contentType?: string; body?: string | FormData; headers?: Record<string, string> },
): Promise<Response> {
  const response = await fetch(url, {
    method,
    headers: {
      orgid: org,
      authorization: `Bearer ${token}`,
      ...(options.contentType ? { "content-type": options.contentType } : {}),
      ...options.headers,
    },
    ...(options.body === undefined ? {} : { body: options.body }),
    signal: AbortSignal.timeout(30_000),
  });
  if (!response.ok) throw new Error(`${method} ${new URL(url).pathname} answered ${response.status}`);
  return response;
}
