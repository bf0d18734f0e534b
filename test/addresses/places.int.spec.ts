import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { localProviders } from "../../embedded/local-org.js";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";

const path = "/client-data/addresses";
const codeOf = ({ status, body }: Answer) => [status, body.code];

type Wire = {
  readonly api: "new" | "legacy";
  readonly standIn: string;
  readonly suggest: string;
  readonly find: string;
};
const wires: readonly Wire[] = [
  { api: "new", standIn: "google-places", suggest: "POST /v1/places:autocomplete", find: "GET /v1/places/" },
  {
    api: "legacy",
    standIn: "google-maps",
    suggest: "GET /maps/api/place/autocomplete/json",
    find: "GET /maps/api/place/details/json",
  },
];

/** Limits wide enough for a test that asks all day long. */
const wide = { points: 10_000, windowSeconds: 60 };
const rateLimits = { reads: wide, writes: wide, autocomplete: wide, "autocomplete-daily": wide, place: wide };

for (const wire of wires) {
  describe(`places by Google's ${wire.api} API`, () => {
    let api: TestApi;
    let ada: Caller;
    let customer = 0;

    before(async () => {
      api = await startApi({
        standIns: true,
        settings: {
          rateLimits,
          providers: { ...localProviders, googlePlaces: { apiKey: "GOOGLE_API_KEY", api: wire.api } },
        },
      });
    });
    after(() => api?.stop());
    beforeEach(async () => {
      ada = await api.as(`${wire.api}-${++customer}`);
      for (const what of ["failures", "requests"]) await control(what, undefined, "DELETE");
      await control("forget");
    });

    const control = async (action: string, body?: object, method = "POST") => {
      const answer = await fetch(`${api.providers}/control/${wire.standIn}/${action}`, {
        method,
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
      expect(answer.status).to.be.lessThan(300);
      return answer.status === 204 ? undefined : answer.json();
    };
    const requests = async () => (await control("requests", undefined, "GET")) as { path: string; body: string }[];
    const sessions = async () => (await control("sessions")) as { token: string }[];
    const suggest = (query: Record<string, string>) =>
      ada.get(`${path}/autocomplete?${new URLSearchParams(query).toString()}`);
    const find = (placeId: string, query: Record<string, string> = {}) =>
      ada.get(`${path}/place/${placeId}?${new URLSearchParams(query).toString()}`);

    it("suggests what begins so, and makes a session's token", async () => {
      const { status, headers, body } = await suggest({ input: "oranien" });
      expect([status, headers.get("cache-control")]).to.deep.equal([200, "no-store"]);
      expect(body.data).to.deep.equal([
        {
          placeId: "ChIJ_local_oranienstrasse",
          description: "Oranienstraße 25, Berlin, Deutschland",
          mainText: "Oranienstraße 25",
          secondaryText: "Berlin, Deutschland",
        },
      ]);
      expect(body.sessionToken).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-4/);
      const none = await suggest({ q: "nowhere at all", sessionToken: body.sessionToken });
      expect(none.body).to.deep.equal({ data: [], sessionToken: body.sessionToken });
    });

    it("looks in the countries named, in a language, near a place", async () => {
      const { body } = await suggest({ input: "rue", country: "FR,be", language: "fr-fr", lat: "48.8", lng: "-2.35" });
      expect(body.data).to.have.length(1);
      expect((await suggest({ input: "rue", country: "DE" })).body.data).to.deep.equal([]);
      const [asked] = await requests();
      const said = wire.api === "new" ? (asked?.body ?? "") : decodeURIComponent(asked?.path ?? "");
      expect(said)
        .to.include("fr-FR")
        .and.to.match(/be/)
        .and.to.match(/48\.8/)
        .and.to.match(/-2\.35/);
    });

    it("fills in a place as an address that can be posted as it is", async () => {
      for (const [street, expected] of [
        ["418 Garfield", { line1: "418 Garfield Place", region: "NY", postalCode: "11215", country: "US" }],
        ["71 Upper", { line1: "71 Upper Street", city: "London", postalCode: "N1 0NY", country: "GB" }],
        ["Jingumae", { line1: "Jingumae 3-12-5", region: "Tokyo", postalCode: "150-0001", country: "JP" }],
        ["Queen's", { line1: "88 Queen's Road Central", region: "Hong Kong Island", country: "HK" }],
      ] as const) {
        const { body: suggested } = await suggest({ input: street });
        const { placeId } = suggested.data[0];
        const found = await find(placeId, { sessionToken: suggested.sessionToken });
        expect([found.status, found.headers.get("cache-control")]).to.deep.equal([200, "no-store"]);
        expect(found.body.data).to.include({ placeId, ...expected });
        const { formatted, ...fields } = found.body.data;
        expect(formatted).to.be.a("string");
        const posted = await ada.post(path, { body: fields });
        expect([posted.status, posted.body.data?.location]).to.deep.equal([201, fields.location]);
      }
    });

    it("is billed one session for a series of suggestions and the place chosen; repeats cost nothing", async () => {
      const token = randomUUID();
      for (const input of ["ora", "oran", "orani", "oran", "ora"]) await suggest({ input, sessionToken: token });
      const twice = await Promise.all([1, 2].map(() => suggest({ input: "oranie", sessionToken: token })));
      expect(twice.map(({ body }) => body.sessionToken)).to.deep.equal([token, token]);
      const found = await find("ChIJ_local_oranienstrasse", { sessionToken: token });
      const again = await find("ChIJ_local_oranienstrasse", { sessionToken: token });
      expect(again.body).to.deep.equal(found.body);
      expect(await sessions()).to.deep.equal([{ token, autocomplete: 4, details: 1 }]);
    });

    it("begins a new session when the old one is closed, and keeps nothing of it", async () => {
      const { body: first } = await suggest({ input: "oranien" });
      await find("ChIJ_local_oranienstrasse", { sessionToken: first.sessionToken });
      const next = await suggest({ input: "oranien", sessionToken: first.sessionToken });
      expect(next.body.data).to.deep.equal(first.data);
      expect(next.body.sessionToken).not.to.equal(first.sessionToken);
      const another = await find("ChIJ_local_lindengasse", { sessionToken: first.sessionToken });
      expect(another.status).to.equal(200);
      expect(await sessions()).to.deep.equal([
        { token: first.sessionToken, autocomplete: 1, details: 1 },
        { token: next.body.sessionToken, autocomplete: 1, details: 0 },
        { token: "", autocomplete: 0, details: 1 },
      ]);
    });

    it("keeps the sessions of customers apart, though they name the same token", async () => {
      const token = randomUUID();
      await suggest({ input: "oranien", sessionToken: token });
      const bob = await api.as(`bob-${customer}`);
      await bob.get(`${path}/autocomplete?input=oranien&sessionToken=${token}`);
      expect(await sessions()).to.deep.equal([{ token, autocomplete: 2, details: 0 }]);
    });

    it("has the session go on when the place is none", async () => {
      const { body } = await suggest({ input: "oranien" });
      const { sessionToken } = body;
      expect(codeOf(await find("ChIJ_local_of_old", { sessionToken }))).to.deep.equal([404, "PLACE_NOT_FOUND"]);
      expect(codeOf(await find("nonsense", { sessionToken }))).to.deep.equal([404, "PLACE_NOT_FOUND"]);
      expect((await suggest({ input: "linden", sessionToken })).body.sessionToken).to.equal(sessionToken);
    });

    describe("when Google fails", () => {
      const fail = (failure: object) => control("failures", failure);

      it("asks once more where the first try broke", async () => {
        await fail({ match: wire.suggest, mode: "drop-before" });
        expect((await suggest({ input: "oranien" })).status).to.equal(200);
        await fail({ match: wire.find, mode: "answer", status: 503 });
        expect((await find("ChIJ_local_oranienstrasse")).status).to.equal(200);
      });

      for (const [what, failure] of [
        ["answers 500", { mode: "answer", status: 500, body: "oops" }],
        ["answers 429", { mode: "answer", status: 429, body: {} }],
        ["breaks the connection", { mode: "drop-after" }],
      ] as const) {
        it(`answers 503 when it ${what}, and remembers nothing of it`, async () => {
          await fail({ match: wire.suggest, times: 2, ...failure });
          await fail({ match: wire.find, times: 2, ...failure });
          const token = randomUUID();
          const away = await suggest({ input: "oranien", sessionToken: token });
          expect(codeOf(away)).to.deep.equal([503, "PROVIDER_UNAVAILABLE"]);
          expect(Number(away.headers.get("retry-after"))).to.be.greaterThan(0);
          const lost = await find("ChIJ_local_oranienstrasse", { sessionToken: token });
          expect(codeOf(lost)).to.deep.equal([503, "PROVIDER_UNAVAILABLE"]);
          expect((await suggest({ input: "oranien", sessionToken: token })).body.data).to.have.length(1);
          expect((await find("ChIJ_local_oranienstrasse", { sessionToken: token })).status).to.equal(200);
        });
      }

      it("answers in bounded time when it hangs", async () => {
        await fail({ match: wire.suggest, mode: "hang-before", times: 2 });
        const started = performance.now();
        expect(codeOf(await suggest({ input: "oranien" }))).to.deep.equal([503, "PROVIDER_UNAVAILABLE"]);
        expect(performance.now() - started).to.be.lessThan(8_000);
      });

      for (const [what, failure] of [
        ["is no JSON", { status: 200, body: "<html>sorry</html>" }],
        ["has another shape", { status: 200, body: { status: "OK", suggestions: 7, predictions: 7, result: 7 } }],
        ["is too large", { status: 200, body: { status: "OK", suggestions: [], pad: "x".repeat(300_000) } }],
        ["is a redirect", { status: 302, headers: { location: "http://127.0.0.1:9/" }, body: {} }],
        ["is a refusal", { status: 403, body: { error: { status: "PERMISSION_DENIED", message: "secret words" } } }],
      ] as const) {
        it(`answers 502 when what comes ${what}, in words of our own`, async () => {
          await fail({ match: wire.suggest, mode: "answer", ...failure });
          await fail({ match: wire.find, mode: "answer", ...failure });
          const answers = [await suggest({ input: "oranien" }), await find("ChIJ_local_oranienstrasse")];
          for (const answer of answers) {
            expect(codeOf(answer)).to.deep.equal([502, "PROVIDER_ERROR"]);
            expect(JSON.stringify(answer.body)).not.to.match(/sorry|secret words|google/i);
          }
        });
      }

      if (wire.api === "legacy") {
        for (const [verdict, status, code] of [
          ["OVER_QUERY_LIMIT", 503, "PROVIDER_UNAVAILABLE"],
          ["UNKNOWN_ERROR", 503, "PROVIDER_UNAVAILABLE"],
          ["REQUEST_DENIED", 502, "PROVIDER_ERROR"],
          ["INVALID_REQUEST", 502, "PROVIDER_ERROR"],
        ] as const) {
          it(`understands ${verdict} in a 200`, async () => {
            const body = { status: verdict, error_message: "You have exceeded", predictions: [] };
            await fail({ match: wire.suggest, mode: "answer", status: 200, times: 2, body });
            expect(codeOf(await suggest({ input: "oranien" }))).to.deep.equal([status, code]);
          });
        }
      }

      it("never tells the key, neither in an answer nor in a log", async () => {
        await fail({ match: wire.suggest, mode: "drop-before", times: 2 });
        await fail({ match: wire.find, mode: "answer", status: 400, body: { error: { message: "local-google-key" } } });
        const bodies = [await suggest({ input: "oranien" }), await find("ChIJ_local_oranienstrasse")];
        expect(JSON.stringify(bodies.map(({ body }) => body))).not.to.include("local-google-key");
        const logged = api.logLines.join("");
        expect(logged).to.include("request failed").and.not.include("local-google-key");
        expect(logged).not.to.match(/oranien/i);
      });
    });
  });
}

describe("places, whatever API", () => {
  let api: TestApi;
  let ada: Caller;
  let customer = 0;

  before(async () => {
    // The limits as they are, where other tests are granted all they like.
    api = await startApi({ standIns: true, settings: { rateLimits: {} } });
  });
  after(() => api?.stop());
  beforeEach(async () => {
    ada = await api.as(`ada-${++customer}`);
  });

  it("are not to be had by an org without credentials", async () => {
    const token = await api.issuer.token({ sub: "grace", org: api.otherOrg });
    const grace = api.with({ orgid: api.otherOrg, authorization: `Bearer ${token}` });
    const answers = [await grace.get(`${path}/autocomplete?input=oranien`), await grace.get(`${path}/place/ChIJx`)];
    for (const answer of answers) expect(codeOf(answer)).to.deep.equal([422, "INTEGRATION_NOT_CONFIGURED"]);
  });

  const token = "not-a-uuid";
  const v1 = "6f0c1d0e-6a3c-1c1e-9d1f-5b1b7c0f2a54";
  const bad: [what: string, query: string, field: string][] = [
    ["nothing typed", "autocomplete", "input"],
    ["too little typed", "autocomplete?input=ab", "input"],
    ["blanks for letters", "autocomplete?input=%20a%20", "input"],
    ["too much typed", `autocomplete?input=${"x".repeat(201)}`, "input"],
    ["a control character", "autocomplete?input=abc%00def", "input"],
    ["two inputs", "autocomplete?input=abc&input=def", "input"],
    ["a token that is none", `autocomplete?input=abc&sessionToken=${token}`, "sessionToken"],
    ["a token that can be guessed", `autocomplete?input=abc&sessionToken=${v1}`, "sessionToken"],
    ["a country that is none", "autocomplete?input=abc&country=DE,XX", "country[1]"],
    ["six countries", "autocomplete?input=abc&country=DE,AT,CH,FR,IT,ES", "country"],
    ["a language that is none", "autocomplete?input=abc&language=x", "language"],
    ["a latitude alone", "autocomplete?input=abc&lat=52", "lng"],
    ["a longitude alone", "autocomplete?input=abc&lng=13", "lat"],
    ["a latitude beyond the pole", "autocomplete?input=abc&lat=91&lng=0", "lat"],
    ["a longitude that is no number", "autocomplete?input=abc&lat=1&lng=1e3", "lng"],
    ["a token of a place that is none", `place/ChIJx?sessionToken=${token}`, "sessionToken"],
  ];
  for (const [what, query, field] of bad) {
    it(`refuse ${what}`, async () => {
      const answer = await ada.get(`${path}/${query}`);
      expect(codeOf(answer)).to.deep.equal([400, "INVALID_QUERY"]);
      expect(answer.body.errors.map((error: { field: string }) => error.field)).to.include(field);
    });
  }

  it("refuse a place id that none could be", async () => {
    for (const id of ["a%2Fb", "a%20b", "x".repeat(301)]) {
      expect(codeOf(await ada.get(`${path}/place/${id}`)), id).to.deep.equal([400, "VALIDATION_FAILED"]);
    }
  });

  it("have quotas: sixty suggestions and thirty places a minute", async () => {
    const spend = async (url: string, times: number) =>
      (await Promise.all(Array.from({ length: times }, () => ada.get(url)))).filter(({ status }) => status === 429);
    const token = randomUUID();
    const many = await spend(`${path}/autocomplete?input=oranien&sessionToken=${token}`, 62);
    expect(many).to.have.length(2);
    expect(codeOf(many[0] as Answer)).to.deep.equal([429, "AUTOCOMPLETE_QUOTA"]);
    expect(Number(many[0]?.headers.get("retry-after"))).to.be.within(1, 60);
    const places = await spend(`${path}/place/ChIJ_local_lindengasse?sessionToken=${token}`, 31);
    expect(places.map(codeOf)).to.deep.equal([[429, "RATE_LIMITED"]]);
    // Reading the address book is another matter.
    expect((await ada.get(`${path}/unknown`)).status).not.to.equal(429);
  });
});

describe("places by the day", () => {
  it("have a quota of suggestions a day, too", async () => {
    const api = await startApi({
      standIns: true,
      settings: { rateLimits: { "autocomplete-daily": { points: 3, windowSeconds: 86_400 } } },
    });
    try {
      const ada = await api.as("ada");
      const answers: Answer[] = [];
      for (let index = 0; index < 4; index++) answers.push(await ada.get(`${path}/autocomplete?input=oranien`));
      expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200, 429]);
      expect(answers[3]?.body.code).to.equal("AUTOCOMPLETE_QUOTA");
      expect(Number(answers[3]?.headers.get("retry-after"))).to.be.greaterThan(60);
    } finally {
      await api.stop();
    }
  });
});
