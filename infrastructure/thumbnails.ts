import type { Readable } from "node:stream";
import type { Sharp } from "sharp";

/** What thumbnails are, whatever the picture was. */
export const thumbnailType = "image/webp";

/** A picture of more pixels is not opened: a few bytes may say that they are a thousand million of them. */
const mostPixels = 50_000_000;

let turn: Promise<unknown> = Promise.resolve();

/**
 * Draws a picture anew in smaller sizes: turned upright, without its metadata, never larger than it was. One picture
 * at a time, because an opened one may take 150 MB.
 *
 * @param picture is read to its end
 * @param sizes longer edges in pixels
 * @returns the thumbnails by size; none when the picture cannot be read, which is no fault of ours
 */
export function createThumbnails(picture: Readable, sizes: readonly number[]): Promise<Map<number, Buffer>> {
  const drawn = turn.then(() => draw(picture, sizes));
  turn = drawn.catch(() => {});
  return drawn;
}

async function draw(picture: Readable, sizes: readonly number[]): Promise<Map<number, Buffer>> {
  const chunks: Buffer[] = [];
  for await (const chunk of picture as AsyncIterable<Buffer>) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  // Loaded when the first picture comes: it takes 30 MB that most workers never need.
  const { default: sharp } = await import("sharp");
  sharp.cache(false);
  sharp.concurrency(1);
  const open = (): Sharp => sharp(bytes, { limitInputPixels: mostPixels, sequentialRead: true, failOn: "error" });
  const drawn = new Map<number, Buffer>();
  try {
    for (const size of sizes) {
      const smaller = open().autoOrient().resize(size, size, { fit: "inside", withoutEnlargement: true });
      drawn.set(size, await smaller.timeout({ seconds: 20 }).webp({ quality: 80 }).toBuffer());
    }
    return drawn;
  } catch {
    return new Map();
  }
}
