/** Appends on their way at most, and their bytes; a larger one goes alone. */
const maxCount = 64;
const maxBytes = 256 * 1024;

/**
 * Bounds the appends in flight, first come, first served. Whatever is in flight the store commits as one group, so
 * the window is wide enough for large groups; it is bounded because everything in it is held in memory and must be
 * sent again when the connection breaks.
 */
export class AppendWindow {
  private count = 0;
  private bytes = 0;
  private readonly waiting: { bytes: number; go: () => void }[] = [];

  /**
   * Waits for a place.
   *
   * @returns false when none came free in time; then there is nothing to leave
   */
  async enter(bytes: number, limitMs: number): Promise<boolean> {
    if (this.waiting.length === 0 && this.fits(bytes)) {
      this.take(bytes);
      return true;
    }
    return new Promise((resolve) => {
      const entry = {
        bytes,
        go: () => {
          clearTimeout(timer);
          resolve(true);
        },
      };
      const timer = setTimeout(() => {
        this.waiting.splice(this.waiting.indexOf(entry), 1);
        resolve(false);
        this.admit();
      }, limitMs);
      this.waiting.push(entry);
    });
  }

  leave(bytes: number): void {
    this.count -= 1;
    this.bytes -= bytes;
    this.admit();
  }

  private admit(): void {
    for (let next = this.waiting[0]; next && this.fits(next.bytes); next = this.waiting[0]) {
      this.waiting.shift();
      this.take(next.bytes);
      next.go();
    }
  }

  private fits(bytes: number): boolean {
    return this.count === 0 || (this.count < maxCount && this.bytes + bytes <= maxBytes);
  }

  private take(bytes: number): void {
    this.count += 1;
    this.bytes += bytes;
  }
}
