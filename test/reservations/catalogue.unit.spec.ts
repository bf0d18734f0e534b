import { definitionDecider } from "#domain/reservations/definition.decider.js";
import { type Definition, DefinitionReconfirmed, DefinitionUpdated } from "#domain/reservations/definition.events.js";
import { resourceDecider } from "#domain/reservations/resource.decider.js";
import { type Resource, ResourceReconfirmed, ResourceUpdated } from "#domain/reservations/resource.events.js";
import { specify } from "../support/decider-specification.js";

const consultation: Definition = {
  title: "Consultation",
  durationMinutes: 60,
  slotStepMinutes: 30,
  resourceIds: ["room-1"],
  bufferMinutes: 0,
  minNoticeMinutes: 0,
  horizonDays: 90,
  cancelNoticeMinutes: 0,
  rescheduleNoticeMinutes: 0,
  requiresConfirmation: false,
  maxPartySize: 1,
  openReservationLimit: 20,
  priceMinor: null,
  currency: null,
  bookable: true,
};

const room: Resource = {
  name: "Blue room",
  timezone: "Europe/Berlin",
  dayStartsAt: "00:00",
  weeklyHours: { mon: [{ start: "09:00", end: "17:00" }] },
  exceptions: [],
  capacity: 1,
};

describe("definition decider", () => {
  const definitions = specify(definitionDecider);
  const ingest = (sourceRevision: number, changes: Partial<Definition> = {}) =>
    ({
      type: "IngestDefinition",
      definitionId: "consultation",
      sourceRevision,
      definition: { ...consultation, ...changes },
    }) as const;
  const updated = (sourceRevision: number, changes: Partial<Definition> = {}) =>
    DefinitionUpdated.create({
      definitionId: "consultation",
      sourceRevision,
      definition: { ...consultation, ...changes },
    });

  it("takes what the platform says, newest last", () => {
    definitions.given().when(ingest(1)).then(updated(1));
    definitions
      .given(updated(1))
      .when(ingest(2, { bookable: false }))
      .then(updated(2, { bookable: false }));
    definitions
      .given(updated(2))
      .when(ingest(1, { title: "Talk" }))
      .thenNothing();
    definitions
      .given(updated(1))
      .when(ingest(2))
      .then(DefinitionReconfirmed.create({ definitionId: "consultation", sourceRevision: 2 }));
  });
});

describe("resource decider", () => {
  const resources = specify(resourceDecider);
  const ingest = (sourceRevision: number, changes: Partial<Resource> = {}) =>
    ({ type: "IngestResource", resourceId: "room-1", sourceRevision, resource: { ...room, ...changes } }) as const;
  const updated = (sourceRevision: number, changes: Partial<Resource> = {}) =>
    ResourceUpdated.create({ resourceId: "room-1", sourceRevision, resource: { ...room, ...changes } });

  it("takes what the platform says, newest last", () => {
    resources.given().when(ingest(1)).then(updated(1));
    resources
      .given(updated(1))
      .when(ingest(2, { capacity: 3 }))
      .then(updated(2, { capacity: 3 }));
    resources
      .given(updated(2))
      .when(ingest(1, { capacity: 3 }))
      .thenNothing();
    resources
      .given(updated(1))
      .when(ingest(2))
      .then(ResourceReconfirmed.create({ resourceId: "room-1", sourceRevision: 2 }));
  });

  it("keeps zone and start of the day for ever: they say on which day's slotbook a slot stands", () => {
    resources
      .given(updated(1))
      .when(ingest(2, { timezone: "Europe/Paris" }))
      .thenRefused("RESOURCE_FIELD_FROZEN", { fields: ["timezone"] });
    resources
      .given(updated(1))
      .when(ingest(2, { dayStartsAt: "04:00" }))
      .thenRefused("RESOURCE_FIELD_FROZEN");
    resources
      .given(updated(2))
      .when(ingest(1, { dayStartsAt: "04:00" }))
      .thenNothing();
  });
});
