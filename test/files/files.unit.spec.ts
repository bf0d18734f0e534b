import { expect } from "chai";
import fc from "fast-check";
import { type DomainEvent, fold } from "#domain/core/decider.js";
import { streams } from "#domain/core/identifiers.js";
import { filesDecider, isNamed, isUsablePhoto, type NewFile } from "#domain/files/files.decider.js";
import { BlobDeleted, type FileEvent, Removed, Scanned, Uploaded } from "#domain/files/files.events.js";
import {
  disposition,
  fileLimits,
  isPath,
  objectKeys,
  pathIn,
  quarantinedBlob,
  typesFor,
} from "#domain/files/files.policy.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { fileAreaDuties } from "#projectors/files/files.duties.js";
import { fileProjection } from "#projectors/files/files.projection.js";
import { dueWorkProjection } from "#projectors/due-work.js";
import { placed, specify } from "../support/decider-specification.js";
import { ada, project } from "../support/projection-specification.js";

const MiB = 1024 * 1024;
const file = (fileId: string, more: Partial<NewFile> = {}): NewFile => ({
  fileId,
  path: `docs/${fileId}.pdf`,
  size: 1_000,
  contentType: "application/pdf",
  purpose: "general",
  sha256: "ab".repeat(32),
  blob: `blob-${fileId}`,
  ...more,
});
const uploaded = (fileId: string, more: Partial<NewFile> = {}) =>
  Uploaded.create(file(fileId, more) as Parameters<typeof Uploaded.create>[0]);
const clean = (fileId: string, thumbnails: number[] = []) => Scanned.create({ fileId, scan: "clean", thumbnails });
const infected = (fileId: string) => Scanned.create({ fileId, scan: "infected", signature: "Eicar", thumbnails: [] });
const removed = (fileId: string, reason: "customer" | "overwritten" = "customer") => Removed.create({ fileId, reason });
const add = (files: NewFile[], more: { overwrite?: boolean; inUse?: string[] } = {}) =>
  ({ type: "AddFiles", files, overwrite: false, inUse: [], ...more }) as const;

describe("files decider", () => {
  const files = specify(filesDecider);

  it("adds files, all of them or none", () => {
    files
      .given()
      .when(add([file("a")]))
      .then(uploaded("a"));
    const metadata = { pages: 3 };
    files
      .given()
      .when(add([file("a", { metadata }), file("b", { uploadId: "u-1" })]))
      .then(uploaded("a", { metadata }), uploaded("b", { uploadId: "u-1" }));
    files
      .given(uploaded("b"))
      .when(add([file("a"), file("c", { path: "docs/b.pdf" })]))
      .thenRefused("FILE_EXISTS", { index: 1 });
    files
      .given()
      .when(add([file("a"), file("b", { path: "a\\b" })]))
      .thenRefused("PATH_INVALID", { index: 1 });
    files
      .given()
      .when(add([file("a"), file("b", { path: "docs/a.pdf" })], { overwrite: true }))
      .thenRefused("FILE_EXISTS");
  });

  it("does nothing for a file, or a direct upload, that is there already", () => {
    files
      .given(uploaded("a"))
      .when(add([file("a")]))
      .thenNothing();
    files
      .given(uploaded("a", { uploadId: "u-1" }))
      .when(add([file("z", { uploadId: "u-1" })]))
      .thenNothing();
  });

  it("puts a file in the place of another, unless that one is needed", () => {
    const other = file("b", { path: "docs/a.pdf" });
    files
      .given(uploaded("a"))
      .when(add([other], { overwrite: true }))
      .then(removed("a", "overwritten"), uploaded("b", { path: "docs/a.pdf" }));
    files
      .given(uploaded("a"))
      .when(add([other], { overwrite: true, inUse: ["a"] }))
      .thenRefused("FILE_IN_USE");
  });

  it("holds the quota of bytes exactly, and gives back what is removed, replaced or infected", () => {
    const large = (fileId: string) => uploaded(fileId, { size: 25 * MiB });
    const eight = Array.from({ length: 8 }, (_, index) => large(`f${index}`));
    const seven = eight.slice(0, 7);
    files
      .given(...seven)
      .when(add([file("x", { size: 25 * MiB })]))
      .then(uploaded("x", { size: 25 * MiB }));
    files
      .given(...eight)
      .when(add([file("x", { size: 1 })]))
      .thenRefused("QUOTA_EXCEEDED", {
        files: 8,
        bytes: 200 * MiB,
        maxFiles: 500,
        maxBytes: 200 * MiB,
      });
    files
      .given(...seven)
      .when(add([file("x", { size: 25 * MiB + 1 })]))
      .thenRefused("QUOTA_EXCEEDED");
    files
      .given(...eight, removed("f0"))
      .when(add([file("x", { size: 25 * MiB })]))
      .then(uploaded("x", { size: 25 * MiB }));
    files
      .given(...eight, infected("f0"))
      .when(add([file("x", { size: 25 * MiB })]))
      .then(uploaded("x", { size: 25 * MiB }));
    files
      .given(...eight, infected("f0"), removed("f0"))
      .when(add([file("x", { size: 25 * MiB }), file("y")]))
      .thenRefused("QUOTA_EXCEEDED");
    files
      .given(...eight)
      .when(add([file("x", { path: "docs/f0.pdf", size: 25 * MiB })], { overwrite: true }))
      .then(removed("f0", "overwritten"), uploaded("x", { path: "docs/f0.pdf", size: 25 * MiB }));
  });

  it("refuses the 501st file", () => {
    const full = Array.from({ length: 500 }, (_, index) => uploaded(`f${index}`));
    files
      .given(...full.slice(1))
      .when(add([file("x")]))
      .then(uploaded("x"));
    files
      .given(...full)
      .when(add([file("x")]))
      .thenRefused("QUOTA_EXCEEDED");
  });

  it("records the first verdict, and none of a file that is gone", () => {
    const scan = { type: "RecordScan", fileId: "a", scan: "clean", thumbnails: [128] } as const;
    files
      .given(uploaded("a"))
      .when(scan)
      .then(clean("a", [128]));
    files.given(uploaded("a"), infected("a")).when(scan).thenNothing();
    files.given(uploaded("a"), removed("a")).when(scan).thenNothing();
    files
      .given(uploaded("a"))
      .when({ type: "RecordScan", fileId: "a", scan: "infected", signature: "Eicar", thumbnails: [] })
      .then(infected("a"));
  });

  it("removes a file by path, pk or id, unless something needs it", () => {
    for (const name of ["a", "file-a", "docs/a.pdf"]) {
      const decision = filesDecider.decide(
        { type: "RemoveFile", file: name, inUse: [] },
        files.given(uploaded("a")).state,
      );
      expect(decision.events).to.deep.equal([removed("a")]);
    }
    files
      .given(uploaded("a"))
      .when({ type: "RemoveFile", file: "a", inUse: ["a"] })
      .thenRefused("FILE_IN_USE");
    files
      .given(uploaded("a"), removed("a"))
      .when({ type: "RemoveFile", file: "a", inUse: [] })
      .thenRefused("FILE_NOT_FOUND");
  });

  it("knows which blobs are still needed, until nothing is left of them", () => {
    const { state } = files.given(uploaded("a"), uploaded("b"), clean("b"), uploaded("c"), removed("c"));
    expect(["a", "b", "c", "d"].map((id) => isNamed(state, `blob-${id}`))).to.deep.equal([true, false, true, false]);
    const confirm = { type: "ConfirmBlobDeleted", fileId: "c" } as const;
    files
      .given(uploaded("c"), removed("c"))
      .when(confirm)
      .then(BlobDeleted.create({ fileId: "c" }));
    files.given(uploaded("c")).when(confirm).thenNothing();
  });

  it("takes as a photo only a picture meant as one that could be drawn", () => {
    const photo = { purpose: "photo", contentType: "image/png" } as const;
    const usable = (...history: FileEvent[]) => isUsablePhoto(files.given(...history).state.files.get("a"));
    expect(usable(uploaded("a", photo), clean("a", [128, 512]))).to.equal(true);
    expect(usable(uploaded("a", photo))).to.equal(false);
    expect(usable(uploaded("a", photo), clean("a"))).to.equal(false);
    expect(usable(uploaded("a", { ...photo, purpose: "general" }), clean("a", [128]))).to.equal(false);
    expect(usable()).to.equal(false);
  });

  it("counts what is there, whatever was added and removed", () => {
    const step = fc.tuple(
      fc.constantFrom("add", "remove", "infect", "overwrite"),
      fc.nat(5),
      fc.integer({ min: 1, max: 60 * MiB }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const history: DomainEvent[] = [];
        let number = 0;
        for (const [kind, place, size] of steps) {
          const state = fold(filesDecider, filesDecider.initial, placed(history as FileEvent[]));
          const path = `p${place}`;
          const fileId = state.paths.get(path) ?? "none";
          const command =
            kind === "remove"
              ? ({ type: "RemoveFile", file: path, inUse: [] } as const)
              : kind === "infect"
                ? ({ type: "RecordScan", fileId, scan: "infected", thumbnails: [] } as const)
                : add([file(`f${number++}`, { path, size })], { overwrite: kind === "overwrite" });
          history.push(...filesDecider.decide(command, state).events);
        }
        const state = fold(filesDecider, filesDecider.initial, placed(history as FileEvent[]));
        const all = [...state.files.values()];
        const counted = all.filter(({ scan }) => scan !== "infected").reduce((sum, { size }) => sum + size, 0);
        expect([state.bytes, state.paths.size]).to.deep.equal([counted, all.length]);
        expect(state.bytes).to.be.at.most(fileLimits.bytes);
      }),
      { numRuns: 60 },
    );
  });
});

describe("files policy", () => {
  it("judges paths", () => {
    const good = [
      "a",
      "a/b.txt",
      "Rechnung März.pdf",
      ".hidden",
      "a b",
      "x".repeat(120),
      `${"x".repeat(99)}/`.repeat(2) + "y".repeat(100),
    ];
    const bad = [
      "",
      "/a",
      "a/",
      "a//b",
      ".",
      "..",
      "a/../b",
      "a\u0000b",
      "a\nb",
      "a\\b",
      "a:b",
      "a*",
      "a?",
      '"',
      "<",
      ">",
      "|",
      " ",
    ];
    bad.push("x".repeat(121), `${"x".repeat(100)}/`.repeat(3) + "y", "März".normalize("NFD"), "\ud800");
    expect(good.filter((path) => !isPath(path))).to.deep.equal([]);
    expect(bad.filter((path) => isPath(path))).to.deep.equal([]);
    expect([pathIn("/a/b/", "c"), pathIn("", "c"), pathIn("/", "c")]).to.deep.equal(["a/b/c", "c", "c"]);
  });

  it("keeps every owner's objects apart, and the quarantine from all of them", () => {
    const part = fc.string({ minLength: 1, maxLength: 12, unit: "binary" }).filter((text) => !/\p{Cs}/u.test(text));
    const owner = fc.record({ org: part, customer: part });
    fc.assert(
      fc.property(owner, owner, (one, other) => {
        const keys = [objectKeys.file(one, "f"), objectKeys.quarantine(one, "b"), objectKeys.thumbnail(one, "f", 128)];
        for (const key of keys)
          expect(key)
            .to.match(/^[A-Za-z0-9_~./-]+$/)
            .and.not.match(/(^|\/)\.{0,2}(\/|$)/);
        expect(objectKeys.folder(one).startsWith(objectKeys.quarantineFolder())).to.equal(false);
        expect(quarantinedBlob(objectKeys.file(one, "f"))).to.equal(null);
        expect(quarantinedBlob(objectKeys.quarantine(one, "b"))?.blob).to.equal("b");
        if (one.org === other.org && one.customer === other.customer) return;
        expect(objectKeys.file(other, "f").startsWith(objectKeys.folder(one))).to.equal(false);
        expect(objectKeys.quarantine(other, "b").startsWith(objectKeys.quarantineFolder(one))).to.equal(false);
      }),
    );
  });

  it("names a download in ASCII and in full, and nothing more", () => {
    expect(disposition("attachment", 'März "1".pdf')).to.equal(
      "attachment; filename=\"M_rz _1_.pdf\"; filename*=UTF-8''M%C3%A4rz%20%221%22.pdf",
    );
    expect(disposition("inline", "a'b(c)*.png")).to.equal(
      "inline; filename=\"a'b(c)*.png\"; filename*=UTF-8''a%27b%28c%29%2A.png",
    );
  });

  it("takes pictures only as photos, and evidence only as documents or pictures", () => {
    expect(typesFor("photo")).to.deep.equal(["image/jpeg", "image/png", "image/webp", "image/gif"]);
    expect(typesFor("id")).to.deep.equal(["application/pdf", "image/jpeg", "image/png", "image/heic"]);
    expect(typesFor("general")).to.include("text/csv").and.not.include.members(["text/html", "image/svg+xml"]);
  });
});

describe("files projection", () => {
  const stream = streams.files(ada);

  it("keeps one document per file, with its own version and times", () => {
    project(fileProjection)
      .given(
        { stream, event: uploaded("a", { metadata: { pages: 3 } }) },
        { stream, event: uploaded("b") },
        { stream, event: clean("a", [128]) },
        { stream, event: removed("b") },
        { stream, event: BlobDeleted.create({ fileId: "b" }) },
      )
      .then({
        a: {
          id: "a",
          version: 2,
          createdAt: "2026-03-01T09:00:00.000Z",
          modifiedAt: "2026-03-01T09:02:00.000Z",
          data: {
            path: "docs/a.pdf",
            name: "a.pdf",
            size: 1_000,
            contentType: "application/pdf",
            purpose: "general",
            sha256: "ab".repeat(32),
            scan: "clean",
            metadata: { pages: 3 },
          },
          thumbnails: [128],
        },
      });
  });

  it("lets go of an erased customer", () => {
    project(fileProjection)
      .given(
        { stream, event: uploaded("a") },
        { stream: streams.profile(ada), event: CustomerErased.create({} as never) },
      )
      .thenNothing();
  });
});

describe("files duties", () => {
  const stream = streams.files(ada);
  const duties = dueWorkProjection([fileAreaDuties]);
  const due = (...events: DomainEvent[]) =>
    [
      ...project(duties)
        .given(...events.map((event) => ({ stream, event })))
        .documents.values(),
    ].map(({ duty, dueAt, subject }) => `${duty} ${subject} ${dueAt.slice(14, 19)}`);

  it("scan until there is a verdict, and delete until nothing is left", () => {
    expect(due(uploaded("a"))).to.deep.equal(["files-scan a 00:30"]);
    expect(due(uploaded("a"), clean("a"))).to.deep.equal([]);
    expect(due(uploaded("a"), infected("a"))).to.deep.equal(["files-delete-blob a 01:00"]);
    expect(due(uploaded("a"), removed("a"))).to.deep.equal(["files-delete-blob a 01:00"]);
    expect(due(uploaded("a"), removed("a"), BlobDeleted.create({ fileId: "a" }))).to.deep.equal([]);
  });
});
