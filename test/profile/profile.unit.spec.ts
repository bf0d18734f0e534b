import { expect } from "chai";
import type { DomainEvent } from "#domain/core/decider.js";
import {
  AccountLocked,
  CustomerErased,
  ErasureCancelled,
  ErasureRequested,
  goodStanding,
} from "#domain/privacy/privacy.events.js";
import { profileDecider } from "#domain/profile/profile.decider.js";
import { emailClaimDecider, emailClaimStream } from "#domain/profile/email-claim.decider.js";
import { EmailClaimed, EmailReleased } from "#domain/profile/email-claim.events.js";
import { DestinationVerified, EmailChanged, Reconfirmed, Registered, Updated } from "#domain/profile/profile.events.js";
import { derivedName, emptyProfile } from "#domain/profile/profile.policy.js";
import { streams } from "#domain/core/identifiers.js";
import { profileProjection } from "#projectors/profile/profile.projection.js";
import { specificationStart, specify } from "../support/decider-specification.js";
import { ada, project } from "../support/projection-specification.js";

const profile = specify(profileDecider);
const registered = Registered.create({
  source: "claims",
  email: "ada@example.com",
  name: "Ada Lovelace",
});
const update = (wish: object) => ({ type: "UpdateProfile", wish }) as const;
const ingest = (sourceRevision: number | string, wish: object) =>
  ({ type: "IngestCustomer", sourceRevision, wish }) as const;

describe("profile decider", () => {
  describe("registration from the claims of a token", () => {
    const register = {
      type: "RegisterFromClaims",
      claims: { email: "Ada@Example.COM", name: "Ada Lovelace" },
    } as const;

    it("registers with name and address, the address's domain in lower case", () => {
      profile
        .given()
        .when(register)
        .then(Registered.create({ source: "claims", email: "Ada@example.com", name: "Ada Lovelace" }));
    });

    it("registers a token that names nobody", () => {
      profile
        .given()
        .when({ type: "RegisterFromClaims", claims: {} })
        .then(Registered.create({ source: "claims" }));
      profile
        .given()
        .when({ type: "RegisterFromClaims", claims: { email: "ada" } })
        .then(Registered.create({ source: "claims" }));
    });

    it("does nothing for a customer already known", () => {
      profile.given(registered).when(register).thenNothing();
      profile
        .given(Registered.create({ source: "platform", sourceRevision: 1 }))
        .when(register)
        .thenNothing();
    });

    it("does not bring an erased customer back", () => {
      profile.given(registered, CustomerErased.create({})).when(register).thenRefused("ACCOUNT_LOCKED");
    });
  });

  describe("a locked account", () => {
    const pending = ErasureRequested.create({ effectiveAt: "2026-03-15T09:00:00.000Z" });

    it("takes no update of the customer's", () => {
      for (const fact of [AccountLocked.create({ reason: "abuse" }), pending]) {
        profile
          .given(registered, fact)
          .when(update({ about: "me" }))
          .thenRefused("ACCOUNT_LOCKED");
      }
      profile
        .given(registered, pending, ErasureCancelled.create({}))
        .when(update({ about: "me" }))
        .then(Updated.create({ about: "me", previous: { about: null }, source: "customer" }));
    });

    it("takes what the platform knows", () => {
      profile
        .given(registered, pending)
        .when(ingest(1, { about: "me" }))
        .then(Updated.create({ about: "me", previous: { about: null }, source: "platform", sourceRevision: 1 }));
    });
  });

  describe("update", () => {
    it("records only what differs, with the values before", () => {
      profile
        .given(registered)
        .when(update({ phone: "+4930123456", language: "de", name: "Ada Lovelace" }))
        .then(
          Updated.create({
            source: "customer",
            phone: "+4930123456",
            language: "de",
            previous: { phone: null, language: null },
          }),
        );
    });

    it("does nothing when nothing differs", () => {
      profile
        .given(registered)
        .when(update({ name: "Ada Lovelace", phone: null, marketing: { sms: false }, metadata: { tier: null } }))
        .thenNothing();
    });

    it("clears a field with null", () => {
      profile
        .given(registered)
        .when(update({ name: null }))
        .then(Updated.create({ source: "customer", name: null, previous: { name: "Ada Lovelace" } }));
    });

    it("derives the name when parts are given", () => {
      profile
        .given(registered)
        .when(update({ firstName: "Augusta", lastName: "King", name: "ignored" }))
        .then(
          Updated.create({
            source: "customer",
            firstName: "Augusta",
            lastName: "King",
            name: "Augusta King",
            previous: { firstName: null, lastName: null, name: "Ada Lovelace" },
          }),
        );
    });

    it("derives the name from the part given and the part known", () => {
      const parts = Updated.create({ source: "customer", firstName: "Ada", lastName: "Byron", previous: {} });
      profile
        .given(registered, parts)
        .when(update({ lastName: "King" }))
        .then(
          Updated.create({
            source: "customer",
            lastName: "King",
            name: "Ada King",
            previous: { lastName: "Byron", name: "Ada Lovelace" },
          }),
        );
    });

    it("falls back to the parts when the name itself is cleared", () => {
      const parts = Updated.create({
        source: "customer",
        firstName: "Ada",
        lastName: "Byron",
        name: "Countess",
        previous: {},
      });
      profile
        .given(registered, parts)
        .when(update({ name: null }))
        .then(Updated.create({ source: "customer", name: "Ada Byron", previous: { name: "Countess" } }));
    });

    it("loses a derived name with its parts, and keeps one that was chosen", () => {
      const cleared = { firstName: null, lastName: null };
      const derived = Registered.create({ source: "platform", sourceRevision: 1, firstName: "Ada", name: "Ada" });
      const chosen = Registered.create({ source: "platform", sourceRevision: 1, firstName: "Ada", name: "Countess" });
      profile
        .given(derived)
        .when(update(cleared))
        .then(
          Updated.create({
            source: "customer",
            firstName: null,
            name: null,
            previous: { firstName: "Ada", name: "Ada" },
          }),
        );
      profile
        .given(chosen)
        .when(update(cleared))
        .then(Updated.create({ source: "customer", firstName: null, previous: { firstName: "Ada" } }));
    });

    it("refuses another e-mail address, and takes the present one as unchanged", () => {
      profile
        .given(registered)
        .when(update({ email: "ada@elsewhere.example", language: "de" }))
        .thenRefused("EMAIL_CHANGE_NEEDS_VERIFICATION");
      profile
        .given(registered)
        .when(update({ email: null }))
        .thenRefused("EMAIL_CHANGE_NEEDS_VERIFICATION");
      profile
        .given(registered)
        .when(update({ email: "ada@EXAMPLE.com" }))
        .thenNothing();
    });

    it("takes a photo that was found usable, and lets go of the one whose file is gone", () => {
      const chosen = Updated.create({ photo: "file-1", previous: { photo: null }, source: "customer" });
      profile
        .given(registered)
        .when({ ...update({ photo: "file-1" }), photoUsable: true })
        .then(chosen);
      const letGo = { type: "LetGoOfPhoto", photo: "file-1" } as const;
      profile
        .given(registered, chosen)
        .when(letGo)
        .then(Updated.create({ photo: null, previous: { photo: "file-1" }, source: "system" }));
      profile
        .given(registered, chosen)
        .when({ ...letGo, photo: "file-2" })
        .thenNothing();
    });

    it("refuses a photo that was not found usable, and lets null clear it", () => {
      profile
        .given(registered)
        .when(update({ photo: "file-1" }))
        .thenRefused("PHOTO_NOT_USABLE");
      profile
        .given(registered)
        .when(update({ photo: null }))
        .thenNothing();
    });

    it("merges marketing channel by channel, and keeps time and source of each change", () => {
      const consent = Updated.create({
        source: "customer",
        marketing: { email: true },
        previous: { marketing: { email: false } },
      });
      profile
        .given(registered)
        .when(update({ marketing: { email: true, sms: false } }))
        .then(consent);
      profile
        .given(registered, consent)
        .when(update({ marketing: null }))
        .then(
          Updated.create({
            source: "customer",
            marketing: { email: false },
            previous: { marketing: { email: true } },
          }),
        );
      const { state } = profile.given(registered, consent);
      expect(state.status === "active" && state.profile.marketing).to.deep.equal({
        email: { given: true, at: "2026-03-01T09:01:00.000Z", source: "customer" },
        sms: null,
        push: null,
      });
    });

    it("merges metadata key by key; a null takes a key away", () => {
      const tagged = Updated.create({ source: "customer", metadata: { tier: "gold", size: 44 }, previous: {} });
      profile
        .given(registered, tagged)
        .when(update({ metadata: { tier: null, size: 44, hat: { brim: true } } }))
        .then(
          Updated.create({
            source: "customer",
            metadata: { tier: null, hat: { brim: true } },
            previous: { metadata: { tier: "gold", hat: null } },
          }),
        );
      const { state } = profile.given(
        registered,
        tagged,
        Updated.create({ source: "customer", metadata: { tier: null }, previous: {} }),
      );
      expect(state.status === "active" && state.profile.metadata).to.deep.equal({ size: 44 });
    });

    it("refuses metadata that grows too large by merging", () => {
      const large = Updated.create({ source: "customer", metadata: { a: "x".repeat(3000) }, previous: {} });
      profile
        .given(registered, large)
        .when(update({ metadata: { b: "y".repeat(1100) } }))
        .thenRefused("METADATA_TOO_LARGE", { limitBytes: 4096 });
    });

    it("takes the proof away with the phone number it was for", () => {
      const verified = Registered.create({
        source: "platform",
        sourceRevision: 1,
        phone: "+4930123456",
        phoneVerified: true,
      });
      profile
        .given(verified)
        .when(update({ phone: "+4930999999" }))
        .then(
          Updated.create({
            source: "customer",
            phone: "+4930999999",
            phoneVerified: false,
            previous: { phone: "+4930123456", phoneVerified: true },
          }),
        );
    });

    it("refuses a customer never registered, and one that was erased", () => {
      profile
        .given()
        .when(update({ name: "X" }))
        .thenRefused("CUSTOMER_NOT_FOUND");
      profile
        .given(registered, CustomerErased.create({}))
        .when(update({ name: "X" }))
        .thenRefused("ACCOUNT_LOCKED");
    });
  });

  describe("what the platform feeds", () => {
    it("gives birth to a customer", () => {
      profile
        .given()
        .when(ingest(7, { firstName: "Ada", lastName: "King", email: "ada@Example.com", emailVerified: true }))
        .then(
          Registered.create({
            source: "platform",
            sourceRevision: 7,
            firstName: "Ada",
            lastName: "King",
            name: "Ada King",
            email: "ada@example.com",
            emailVerified: true,
          }),
        );
    });

    it("changes the address; another address starts unverified unless the platform vouches for it", () => {
      const known = Registered.create({
        source: "platform",
        sourceRevision: 1,
        email: "ada@example.com",
        emailVerified: true,
      });
      profile
        .given(known)
        .when(ingest(2, { email: "ada@new.example" }))
        .then(
          Updated.create({
            source: "platform",
            sourceRevision: 2,
            email: "ada@new.example",
            emailVerified: false,
            previous: { email: "ada@example.com", emailVerified: true },
          }),
        );
      profile
        .given(known)
        .when(ingest(2, { email: "ada@new.example", emailVerified: true }))
        .then(
          Updated.create({
            source: "platform",
            sourceRevision: 2,
            email: "ada@new.example",
            previous: { email: "ada@example.com" },
          }),
        );
    });

    it("ignores the same and older revisions, as counters and as times", () => {
      const known = Registered.create({ source: "platform", sourceRevision: 7, name: "Ada" });
      profile
        .given(known)
        .when(ingest(7, { name: "Old" }))
        .thenNothing();
      profile
        .given(known)
        .when(ingest(6, { name: "Old" }))
        .thenNothing();
      const dated = Registered.create({ source: "platform", sourceRevision: "2026-01-02T00:00:00.000Z" });
      profile
        .given(dated)
        .when(ingest("2026-01-01T00:00:00.000Z", { name: "Old" }))
        .thenNothing();
    });

    it("remembers a newer revision that says nothing new, without touching the record", () => {
      const known = Registered.create({ source: "platform", sourceRevision: 1, name: "Ada" });
      profile
        .given(known)
        .when(ingest(3, { name: "Ada" }))
        .then(Reconfirmed.create({ sourceRevision: 3 }));
      const again = profile.given(known, Reconfirmed.create({ sourceRevision: 3 }));
      again.when(ingest(2, { name: "Late" })).thenNothing();
      expect(again.state.status === "active" && again.state.version).to.equal(0);
    });

    it("takes over a customer that registered itself", () => {
      profile
        .given(registered)
        .when(ingest(1, { about: "Countess" }))
        .then(Updated.create({ source: "platform", sourceRevision: 1, about: "Countess", previous: { about: null } }));
    });

    it("does not bring an erased customer back", () => {
      profile
        .given(CustomerErased.create({}))
        .when(ingest(9, { name: "X" }))
        .thenRefused("ACCOUNT_LOCKED");
    });
  });

  it("keeps version and times of the record", () => {
    const { state } = profile.given(
      registered,
      Updated.create({ source: "customer", language: "de", previous: { language: null } }),
    );
    expect(state).to.deep.equal({
      status: "active",
      profile: { ...emptyProfile, email: "ada@example.com", name: "Ada Lovelace", language: "de" },
      version: 1,
      createdAt: "2026-03-01T09:00:00.000Z",
      modifiedAt: "2026-03-01T09:01:00.000Z",
      sourceRevision: null,
      standing: goodStanding,
      since: { email: "2026-03-01T09:00:00.000Z", phone: "2026-03-01T09:00:00.000Z" },
    });
  });

  describe("proofs of destinations", () => {
    const minute = (count: number) => new Date(specificationStart + count * 60_000).toISOString();
    const phoned = Updated.create({ source: "customer", phone: "+4915112345678", previous: { phone: null } });
    const confirm = (channel: "email" | "phone", destination: string, provedAt: string) =>
      ({ type: "ConfirmDestination", channel, destination, challengeId: "c", provedAt }) as const;
    const change = (email: string, provedAt: string) =>
      ({ type: "ChangeEmail", email, challengeId: "c", provedAt }) as const;

    it("verify the very destination that the profile has", () => {
      profile
        .given(registered, phoned)
        .when(confirm("phone", "+4915112345678", minute(2)))
        .then(DestinationVerified.create({ channel: "phone", challengeId: "c" }));
      profile
        .given(registered, phoned)
        .when(confirm("phone", "+4930999999", minute(2)))
        .thenNothing();
      const { state } = profile.given(
        registered,
        phoned,
        DestinationVerified.create({ channel: "phone", challengeId: "c" }),
      );
      expect(state.status === "active" && state.profile).to.include({ phoneVerified: true, emailVerified: false });
    });

    it("are worth nothing once the destination was another in between", () => {
      const away = Updated.create({ source: "customer", phone: null, previous: {} });
      profile
        .given(registered, phoned, away, phoned)
        .when(confirm("phone", "+4915112345678", minute(2)))
        .thenNothing();
      const moved = EmailChanged.create({ email: "c@example.com", previous: "ada@example.com", challengeId: "b" });
      profile
        .given(registered, moved)
        .when(change("old@example.com", minute(0)))
        .thenNothing();
    });

    it("change the address, which is verified then, and once only", () => {
      const changed = EmailChanged.create({ email: "c@example.com", previous: "ada@example.com", challengeId: "c" });
      profile
        .given(registered)
        .when(change("c@example.com", minute(1)))
        .then(changed);
      profile
        .given(registered, changed)
        .when(change("c@example.com", minute(2)))
        .thenNothing();
      profile
        .given(registered)
        .when(change("ada@example.com", minute(1)))
        .then(DestinationVerified.create({ channel: "email", challengeId: "c" }));
      const { state } = profile.given(registered, changed);
      expect(state.status === "active" && state.profile).to.include({ email: "c@example.com", emailVerified: true });
    });

    it("do nothing for whoever may not act", () => {
      const locked = AccountLocked.create({ reason: "fraud" });
      profile
        .given(registered, locked)
        .when(change("c@example.com", minute(2)))
        .thenRefused("ACCOUNT_LOCKED");
      profile
        .given(registered, locked)
        .when(confirm("email", "ada@example.com", minute(2)))
        .thenRefused("ACCOUNT_LOCKED");
      profile
        .given(CustomerErased.create({}))
        .when(change("c@example.com", minute(2)))
        .thenRefused("ACCOUNT_LOCKED");
    });
  });
});

describe("the claim of an address", () => {
  const claims = specify(emailClaimDecider);
  const claim = (customer: string, gone?: string) =>
    ({ type: "ClaimEmail", customer, ...(gone === undefined ? {} : { gone }) }) as const;
  const claimed = (customer: string) => EmailClaimed.create({ customer });

  it("is one account's until it lets go", () => {
    claims.given().when(claim("ada")).then(claimed("ada"));
    claims.given(claimed("ada")).when(claim("ada")).thenNothing();
    claims.given(claimed("ada")).when(claim("bob")).thenRefused("EMAIL_IN_USE");
    claims
      .given(claimed("ada"), EmailReleased.create({ customer: "ada" }))
      .when(claim("bob"))
      .then(claimed("bob"));
  });

  it("passes on from an account that is no more, and only from that one", () => {
    claims.given(claimed("ada")).when(claim("bob", "ada")).then(claimed("bob"));
    claims.given(claimed("eve")).when(claim("bob", "ada")).thenRefused("EMAIL_IN_USE");
  });

  it("is let go by its holder alone", () => {
    const release = (customer: string) => ({ type: "ReleaseEmail", customer }) as const;
    claims
      .given(claimed("ada"))
      .when(release("ada"))
      .then(EmailReleased.create({ customer: "ada" }));
    claims.given(claimed("ada")).when(release("bob")).thenNothing();
    claims.given().when(release("ada")).thenNothing();
  });

  it("has a stream whose name tells nothing, the same for every way to write an address, another in every org", () => {
    const key = Buffer.alloc(32, 1);
    const stream = emailClaimStream(key, "acme", "Ada@Example.com");
    expect(stream).to.match(/^emailClaim-acme\.[A-Za-z0-9_-]{43}$/);
    expect(emailClaimStream(key, "acme", "ada@example.COM")).to.equal(stream);
    expect(emailClaimStream(key, "acme", "bob@example.com")).to.not.equal(stream);
    expect(emailClaimStream(key, "other", "Ada@Example.com").split(".")[1]).to.not.equal(stream.split(".")[1]);
  });
});

describe("profile projection", () => {
  const facts = (...events: DomainEvent[]) => events.map((event) => ({ stream: streams.profile(ada), event }));
  const updated = Updated.create({
    source: "customer",
    language: "de",
    marketing: { push: true },
    previous: { language: null, marketing: { push: false } },
  });

  it("shows what the decider knows", () => {
    project(profileProjection)
      .given(...facts(registered, updated, Reconfirmed.create({ sourceRevision: 4 })))
      .then({
        profile: {
          version: 1,
          createdAt: "2026-03-01T09:00:00.000Z",
          modifiedAt: "2026-03-01T09:01:00.000Z",
          profile: {
            ...emptyProfile,
            email: "ada@example.com",
            name: "Ada Lovelace",
            language: "de",
            marketing: {
              email: null,
              sms: null,
              push: { given: true, at: "2026-03-01T09:01:00.000Z", source: "customer" },
            },
          },
        },
      });
  });

  it("lets go of an erased customer, also when the registration can no longer be read", () => {
    const erased = CustomerErased.create({});
    project(profileProjection)
      .given(...facts(registered, updated, erased))
      .thenNothing();
    project(profileProjection)
      .given(...facts(updated, erased))
      .thenNothing();
  });
});

describe("profile policy", () => {
  it("cuts a derived name to the limit of a name, in code points", () => {
    expect([...(derivedName("😀".repeat(100), "b".repeat(100)) ?? "")].length).to.equal(200);
    expect(derivedName("", null)).to.equal(null);
  });
});
