/** The server cannot start. The message is one plain sentence for the person at the terminal. */
export class StartupError extends Error {
  override readonly name = "StartupError";
}
