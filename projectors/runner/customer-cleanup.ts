import type { Owner } from "#domain/core/identifiers.js";

/**
 * What an area lets go of outside the log and the read models when a customer is erased: its objects in the object
 * store, its customer at a payment provider, the claim of its e-mail address. Read models need none (`onErased`), and
 * neither does what is sealed under the customer's key.
 */
export type CustomerCleanup = {
  /** Kebab-case, for logs. */
  readonly name: string;
  /**
   * Once more when the customer's data key has been destroyed: for where something under way, an upload, may come in
   * after all. Its streams cannot be read by then.
   */
  readonly again?: true;
  /**
   * Lets go of everything there is of one customer. Called at least once, before the customer's data key is destroyed:
   * a repeat finds nothing and succeeds, and what is gone already counts as done. Throws to be called again later, for
   * as long as it takes.
   */
  readonly cleanUp: (owner: Owner) => Promise<void>;
};
