import { activityProjection } from "./activity/activity.projection.js";
import { addressProjection } from "./addresses/addresses.projection.js";
import { dashboardProjection } from "./dashboard/dashboard.projection.js";
import { dueWorkProjection } from "./due-work.js";
import { fileAreaDuties } from "./files/files.duties.js";
import { fileProjection } from "./files/files.projection.js";
import { fileCleanup, filePerformers, scanReactor } from "./files/files.reactor.js";
import { orphanSweep } from "./files/orphans.worker.js";
import { orderProjection } from "./orders/orders.projection.js";
import { paymentMethodDuties } from "./payment-methods/payment-methods.duties.js";
import { paymentMethodProjection } from "./payment-methods/payment-methods.projection.js";
import { paymentMethodCleanup, paymentMethodPerformers } from "./payment-methods/payment-methods.reactor.js";
import { profileProjection } from "./profile/profile.projection.js";
import { photoReactor } from "./profile/profile.reactor.js";
import { privacyAreaDuties } from "./privacy/privacy.duties.js";
import { privacyProjection } from "./privacy/privacy.projection.js";
import { announcementPerformers, erasurePerformer, eraseReactor } from "./privacy/privacy.reactor.js";
import { exportCleanup, exportPerformers } from "./privacy/privacy.worker.js";
import { customerZoneProjection } from "./reservations/customer-zone.projection.js";
import { definitionProjection } from "./reservations/definition.projection.js";
import { holdProjection } from "./reservations/hold.projection.js";
import { reservationDuties } from "./reservations/reservations.duties.js";
import { reservationProjection } from "./reservations/reservations.projection.js";
import {
  finishPerformer,
  freePlaceReactor,
  holdLapsesPerformer,
  reservationsCleanup,
} from "./reservations/reservations.reactor.js";
import { resourceProjection } from "./reservations/resource.projection.js";
import { slotBlockProjection } from "./reservations/slot-block.projection.js";
import { slotbookProjection } from "./reservations/slotbook.projection.js";
import { waitlistProjection } from "./reservations/waitlist.projection.js";
import { offerReactor } from "./reservations/waitlist.reactor.js";
import type { CustomerCleanup } from "./runner/customer-cleanup.js";
import { emailClaimCleanup, emailClaimReactor } from "./profile/email-claim.reactor.js";
import type { AreaDuties, DutyPerformer } from "./runner/duties.js";
import type { PeriodicTask } from "./runner/periodic.js";
import type { AnyProjection } from "./runner/projection.js";
import type { Reactor } from "./runner/reactor.js";
import { transactionProjection } from "./transactions/transactions.projection.js";
import { verificationDuties } from "./verification/verification.duties.js";
import { verificationProjection } from "./verification/verification.projection.js";
import { verificationPerformers, verificationReactors } from "./verification/verification.reactor.js";
import { productProjection } from "./wishlist/product.projection.js";
import { wishlistProjection } from "./wishlist/wishlist.projection.js";
import type { WorkerDependencies } from "./worker-dependencies.js";

/** What falls due, area by area. */
const duties: readonly AreaDuties<any>[] = [
  privacyAreaDuties,
  paymentMethodDuties,
  reservationDuties,
  fileAreaDuties,
  verificationDuties,
];

/** Every read model. Rebuildable at any time, because they write documents and nothing else. */
export const projections: readonly AnyProjection[] = [
  profileProjection,
  addressProjection,
  verificationProjection,
  wishlistProjection,
  productProjection,
  orderProjection,
  transactionProjection,
  paymentMethodProjection,
  fileProjection,
  dashboardProjection,
  activityProjection,
  privacyProjection,
  reservationProjection,
  holdProjection,
  waitlistProjection,
  slotbookProjection,
  slotBlockProjection,
  definitionProjection,
  customerZoneProjection,
  resourceProjection,
  dueWorkProjection(duties),
];

/** What each area lets go of outside when a customer is erased: a new area with something there is one line here. */
export function createCustomerCleanups(deps: WorkerDependencies): readonly CustomerCleanup[] {
  return [
    paymentMethodCleanup(deps),
    reservationsCleanup(deps),
    fileCleanup(deps),
    emailClaimCleanup(deps),
    exportCleanup(deps),
  ];
}

/** Every reactor. Forward only, because they have effects: no rebuild can name one. */
export function createReactors(deps: WorkerDependencies): readonly Reactor[] {
  return [
    eraseReactor(deps, createCustomerCleanups(deps)),
    freePlaceReactor(deps),
    offerReactor(deps),
    scanReactor(deps),
    photoReactor(deps),
    emailClaimReactor(deps),
    ...verificationReactors(deps),
  ];
}

/** Who performs each kind of duty. */
export function createDutyPerformers(deps: WorkerDependencies): readonly DutyPerformer[] {
  return [
    erasurePerformer(deps, createCustomerCleanups(deps)),
    ...announcementPerformers(deps),
    ...exportPerformers(deps),
    ...paymentMethodPerformers(deps),
    finishPerformer(deps),
    holdLapsesPerformer(deps),
    ...filePerformers(deps),
    ...verificationPerformers(deps),
  ];
}

/** What is looked after now and then. */
export function createPeriodicTasks(deps: WorkerDependencies): readonly PeriodicTask[] {
  return [orphanSweep(deps)];
}
