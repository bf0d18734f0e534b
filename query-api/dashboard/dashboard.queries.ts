import { z } from "zod";
import { recordKey } from "#domain/core/identifiers.js";
import { majorAmount } from "#domain/core/money.js";
import { expiryTodo } from "#domain/payment-methods/payment-methods.policy.js";
import { kept } from "#domain/reservations/opening-hours.js";
import type { Wallets } from "#domain/transactions/wallet.policy.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { answerDocument, type ReadDependencies } from "#infrastructure/http/reads.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { parseQuery } from "#infrastructure/http/validation.js";
import {
  type DashboardDocument,
  dashboardDocument,
  dashboardDocumentId,
  emptyDashboard,
} from "#projectors/dashboard/dashboard.document.js";

const reference = z.object({ datatype: z.string(), pk: z.string() });

const dashboardSchema = z.object({
  orders: z.object({ total: z.int(), byStatus: z.record(z.string(), z.int()) }),
  tickets: z.object({ pending: z.int(), awaitingMyReply: z.int() }),
  messages: z.object({ unread: z.int() }),
  notifications: z.object({ unread: z.int() }),
  wallet: z
    .object({
      balance: z.number(),
      balanceMinor: z.int(),
      pending: z.number(),
      pendingMinor: z.int(),
      held: z.number(),
      heldMinor: z.int(),
      currency: z.string(),
    })
    .nullable(),
  recentActivity: z.array(
    z.object({
      id: z.string(),
      at: z.iso.datetime(),
      kind: z.string(),
      title: z.string(),
      actor: z.object({ type: z.string(), name: z.string().nullable() }),
      ref: reference,
    }),
  ),
  reservations: z.object({
    upcoming: z.int(),
    next: z.object({ pk: z.string(), start: z.string(), timezone: z.string(), title: z.string() }).nullable(),
  }),
  wishlist: z.object({ count: z.int() }),
  todos: z.array(z.object({ code: z.string(), ref: reference })),
});
type Dashboard = z.infer<typeof dashboardSchema>;

const sections = Object.keys(dashboardSchema.shape) as readonly (keyof Dashboard)[];

const query = z.object({
  include: z
    .string()
    .max(300)
    .refine((value) => value.split(",").every((name) => name === "asOf" || sections.some((known) => known === name)), {
      message: `must be a comma list of ${sections.join(", ")}`,
      params: { code: "NOT_ALLOWED" },
    })
    .optional()
    .meta({ description: `comma list of ${sections.join(", ")}; default all` }),
});

/** The customer's first page: one lookup. */
export function dashboardQueries(deps: ReadDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/dashboard",
      summary: "Counts, wallet, latest activity and what is to be done; zeros for a new customer",
      operationId: "getDashboard",
      area: "dashboard",
      request: { query },
      responses: {
        200: {
          description: "The dashboard; only the sections asked for",
          schema: z.object({ data: dashboardSchema.partial().extend({ asOf: z.iso.datetime().nullable() }) }),
        },
      },
      handler: (req, res) => {
        const { include } = parseQuery(query, req);
        const { customer } = principalOf(res).owner;
        return answerDocument(req, res, deps, {
          definition: dashboardDocument,
          id: dashboardDocumentId,
          // A reservation that has begun lies ahead no longer, and nothing is written then.
          tag: (document, now) => String(upcoming(document?.reservations ?? [], now).upcoming),
          body: (document, now) => {
            const all = dashboard(document ?? emptyDashboard, customer, now);
            const asOf = document?.asOf ?? null;
            if (include === undefined) return { data: { ...all, asOf } };
            const wanted = include.split(",");
            return {
              data: { ...Object.fromEntries(Object.entries(all).filter(([name]) => wanted.includes(name))), asOf },
            };
          },
        });
      },
    },
  ];
}

function dashboard(document: Omit<DashboardDocument, "asOf">, customer: string, now: Date): Dashboard {
  return {
    orders: document.orders,
    tickets: { pending: 0, awaitingMyReply: 0 },
    messages: { unread: 0 },
    notifications: { unread: 0 },
    wallet: wallet(document.wallets),
    recentActivity: [...document.recentActivity],
    reservations: upcoming(document.reservations, now),
    wishlist: { count: document.wishlistCount },
    todos: todos(document, customer, now),
  };
}

/** What lies ahead, at the instants that keep the wall clock the customer was promised. */
function upcoming(reservations: DashboardDocument["reservations"], now: Date): Dashboard["reservations"] {
  const ahead = reservations.map((one) => ({ ...one, at: kept(one).start })).filter(({ at }) => at > now.getTime());
  const [next] = ahead;
  return {
    upcoming: ahead.length,
    next: next
      ? {
          pk: recordKey("reservation", next.id),
          start: new Date(next.at).toISOString(),
          timezone: next.timezone,
          title: next.title,
        }
      : null,
  };
}

/** The wallet in the currency the customer had first; others are in the transactions' summary. */
function wallet(wallets: Wallets): Dashboard["wallet"] {
  const [first] = Object.entries(wallets);
  if (!first) return null;
  const [currency, { balanceMinor, pendingMinor, heldMinor }] = first;
  return {
    balance: majorAmount(balanceMinor, currency),
    balanceMinor,
    pending: majorAmount(pendingMinor, currency),
    pendingMinor,
    held: majorAmount(heldMinor, currency),
    heldMinor,
    currency,
  };
}

/** Longest list of what is to be done. */
const todoLimit = 10;

type Todos = Pick<DashboardDocument, "email" | "phone" | "cards">;

function todos({ email, phone, cards }: Todos, customer: string, now: Date): Dashboard["todos"] {
  const ref = { datatype: "customer", pk: recordKey("customer", customer) };
  const ofCards = cards.flatMap(({ id, expiresAt }) => {
    const code = expiryTodo(expiresAt, now);
    return code === null ? [] : [{ code, ref: { datatype: "payment_method", pk: recordKey("payment_method", id) } }];
  });
  return [
    ...(email === "unverified" ? [{ code: "VERIFY_EMAIL", ref }] : []),
    ...(phone === "unverified" ? [{ code: "VERIFY_PHONE", ref }] : []),
    ...ofCards,
  ].slice(0, todoLimit);
}
