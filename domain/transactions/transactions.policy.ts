export { transactionStatuses, transactionTypes } from "./transactions.events.js";
