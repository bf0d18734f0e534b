import type { Caller, Answer } from "./api.js";

/** A file of a form, under the field `file` unless it says otherwise. */
export type FormFile = {
  readonly name: string;
  readonly bytes: Buffer | string;
  readonly type?: string;
  readonly field?: string;
};

/** Sends a form as a browser does: the fields, then the files. */
export async function postForm(
  caller: Caller,
  path: string,
  files: readonly FormFile[],
  fields: Readonly<Record<string, string>> = {},
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  for (const { field = "file", name, bytes, type = "" } of files) {
    const content = typeof bytes === "string" ? bytes : new Uint8Array(bytes);
    form.append(field, new Blob([content], { type }), name);
  }
  // Encoded here, so that the helper for plain requests can send it.
  const encoded = new Response(form);
  const body = Buffer.from(await encoded.arrayBuffer());
  return caller.post(path, {
    body,
    headers: { "content-type": encoded.headers.get("content-type") ?? "", ...headers },
  });
}

/** The smallest files that are what they say. */
export const samples = {
  png: Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "base64",
  ),
  pdf: Buffer.from("%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"),
  text: "Dear Sirs,\n\nplease find enclosed a kettle.\n",
  html: "<!doctype html><script>alert(1)</script>",
  svg: '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
} as const;
