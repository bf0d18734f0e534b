/**
 * Text as it is searched: lower case, without accents, so that "muller" finds "Müller".
 *
 * @param parts what a record is found by; absent ones are skipped
 */
export function searchText(...parts: readonly (string | undefined)[]): string {
  return parts
    .filter((part) => part !== undefined && part !== "")
    .join("\n")
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .toLowerCase();
}
