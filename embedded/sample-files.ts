/** A file of the sample data, as a form's part. */
export type SampleFile = {
  readonly name: string;
  readonly location: string;
  readonly type: string;
  readonly bytes: string;
};

/** What somebody keeps in a shop's files: a certificate, and a note. */
export function sampleFiles(person: string): readonly SampleFile[] {
  const warranty = [
    "Warranty certificate",
    "",
    "Espresso machine Duo, two years from the date of purchase",
    `Issued to ${person}`,
  ];
  return [
    { name: "Warranty espresso machine.pdf", location: "warranties", type: "application/pdf", bytes: pdf(warranty) },
    {
      name: "grinder settings.txt",
      location: "",
      type: "text/plain",
      bytes: "Sidamo: 14, Huila: 12.\nDescale in May.\n",
    },
  ];
}

/** A page of A5 with some lines of text: the smallest PDF that every viewer opens. */
function pdf(lines: readonly string[]): string {
  const shown = lines.map((line) => `(${line.replace(/[\\()]/g, "\\$&").replace(/[^\x20-\x7e]/g, "?")}) Tj 0 -22 Td`);
  const content = `BT /F1 14 Tf 50 520 Td ${shown.join(" ")} ET`;
  const objects = [
    "<</Type/Catalog/Pages 2 0 R>>",
    "<</Type/Pages/Kids[3 0 R]/Count 1>>",
    "<</Type/Page/Parent 2 0 R/MediaBox[0 0 420 595]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
    `<</Length ${content.length}>>stream\n${content}\nendstream`,
    "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
  ];
  let text = "%PDF-1.4\n";
  const offsets = objects.map((object, index) => {
    const offset = text.length;
    text += `${index + 1} 0 obj${object}endobj\n`;
    return offset;
  });
  const table = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("");
  const trailer = `trailer<</Size ${objects.length + 1}/Root 1 0 R>>\nstartxref\n${text.length}\n%%EOF\n`;
  return `${text}xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${table}${trailer}`;
}
