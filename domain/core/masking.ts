/**
 * An e-mail address of which only enough is shown to recognise it: `a***@example.com`. Nothing of what is no address.
 */
export function maskedEmail(address: string): string {
  const at = address.lastIndexOf("@");
  const [first = ""] = address;
  return at < 1 ? "***" : `${first}***${address.slice(at)}`;
}
