/** Other names that clients have for a type we know. */
const aliases: Readonly<Record<string, string>> = {
  "image/jpg": "image/jpeg",
  "image/pjpeg": "image/jpeg",
  "image/heif": "image/heic",
  "image/heic-sequence": "image/heic",
  "image/heif-sequence": "image/heic",
  "image/x-png": "image/png",
  "application/x-pdf": "application/pdf",
  "application/x-zip-compressed": "application/zip",
  "application/x-zip": "application/zip",
  "audio/x-wav": "audio/wav",
  "audio/wave": "audio/wav",
  "audio/vnd.wave": "audio/wav",
  "audio/mp3": "audio/mpeg",
  "audio/x-m4a": "audio/mp4",
  "audio/m4a": "audio/mp4",
  "text/rtf": "application/rtf",
};

/** What says nothing of the bytes. */
const silent: readonly string[] = ["", "application/octet-stream", "binary/octet-stream"];
/** What a container is called by clients that look no deeper; the content says which one it is. */
const containers: Readonly<Record<string, RegExp>> = {
  "application/zip": /^application\/(vnd\.openxmlformats-officedocument\.|vnd\.oasis\.opendocument\.)/,
  "application/msword": /^application\/x-cfb$/,
  "application/vnd.ms-excel": /^(application\/x-cfb|text\/csv)$/,
  "application/vnd.ms-powerpoint": /^application\/x-cfb$/,
  "text/plain": /^text\//,
};

function canonical(type: string): string {
  const bare = type.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  return aliases[bare] ?? bare;
}

/**
 * The type of a file by its first bytes; 4 KB do for most, a whole part for what lies in a zip file.
 *
 * @returns undefined for what has no signature, text among it
 */
export async function contentTypeOf(head: Buffer): Promise<string | undefined> {
  const { fileTypeFromBuffer } = await import("file-type");
  const found = await fileTypeFromBuffer(head).catch(() => undefined);
  return found && canonical(found.mime);
}

/** Whether what a client says of a file may be said of what the file is. */
export function agrees(declared: string, found: string): boolean {
  const said = canonical(declared);
  return silent.includes(said) || said === found || containers[said]?.test(found) === true;
}

/**
 * The type of a text, which no signature tells: CSV where the client says so, else plain.
 *
 * @returns undefined for markup: it could be shown as a page, and run
 */
export function textTypeOf(head: Buffer, declared: string): string | undefined {
  const start = head
    .toString("utf8", 0, 1_024)
    .replace(/^\uFEFF/, "")
    .trimStart();
  if (start.startsWith("<")) return undefined;
  const said = canonical(declared);
  return said === "text/csv" || said === "application/vnd.ms-excel" ? "text/csv" : "text/plain";
}

/** Whether bytes that come piece by piece are text: UTF-8 without control characters that no text has. */
export class TextCheck {
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  #holds = true;

  /** Of all that was added so far. */
  get holds(): boolean {
    return this.#holds;
  }

  add(chunk: Buffer): void {
    if (this.#holds) this.#holds = this.#isText(() => this.#decoder.decode(chunk, { stream: true }));
  }

  /** The last piece was added: a character may not be cut. */
  end(): void {
    if (this.#holds) this.#holds = this.#isText(() => this.#decoder.decode());
  }

  #isText(decode: () => string): boolean {
    try {
      return !/[^\P{Cc}\n\r\t\f]/u.test(decode());
    } catch {
      return false;
    }
  }
}
