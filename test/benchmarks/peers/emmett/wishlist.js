/**
 * The wishlist as an Emmett user writes it: a decider, a command handler and an inline projection, all with the
 * defaults of the packages.
 */
import { CommandHandler } from "@event-driven-io/emmett";
import { mongoDBInlineProjection, toStreamName } from "@event-driven-io/emmett-mongodb";

const limit = 500;

const initialState = () => ({ products: new Map() });

function evolve(state, event) {
  switch (event.type) {
    case "ProductAdded":
      return { products: new Map(state.products).set(event.data.productId, event.data) };
    case "ProductRemoved": {
      const products = new Map(state.products);
      products.delete(event.data.productId);
      return { products };
    }
    default:
      return state;
  }
}

/** Events that put the product on the list; none when it is there already. */
function decide(command, state) {
  if (state.products.has(command.productId)) return [];
  if (state.products.size >= limit) throw new Error("the wishlist is full");
  return [{ type: "ProductAdded", data: { ...command }, metadata: { occurredAt: command.addedAt } }];
}

const handle = CommandHandler({
  evolve,
  initialState,
  mapToStreamId: (customer) => toStreamName("wishlist", customer),
});

/** Adds a product; gives the entry and whether it is new. */
export async function addProduct(eventStore, customer, command) {
  const { newEvents, newState } = await handle(eventStore, customer, (state) => decide(command, state));
  return { entry: newState.products.get(command.productId), added: newEvents.length > 0 };
}

/** The read model, kept in the stream's own document as the package does by default. */
export const wishlistProjection = mongoDBInlineProjection({
  canHandle: ["ProductAdded", "ProductRemoved"],
  initialState: () => ({ items: [] }),
  evolve: (document, { type, data }) => {
    const items = document.items.filter((item) => item.productId !== data.productId);
    if (type === "ProductAdded") items.unshift(data);
    return { items };
  },
});
