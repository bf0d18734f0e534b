import type { Request, Response } from "express";
import type { z } from "zod";
import type { ProblemCode } from "./problem-details.js";

/** Who may call a route: a customer (or its user, or a proxy for it), a service, or anybody. */
export type Access = "customer" | "service" | "public";

export type RouteResponse = {
  readonly description: string;
  /** Shape of the JSON body; absent for an answer without one. */
  readonly schema?: z.ZodType;
  /** Media type of the body when it is not JSON. */
  readonly contentType?: string;
  /** Another media type in which the same can be had, by `Accept`. */
  readonly alternative?: string;
};

/**
 * One route: what is mounted and what the OpenAPI document says come from the same object, so they cannot differ.
 * The schemas here are the ones the handler parses with.
 */
export type RouteDefinition = {
  readonly method: "get" | "post" | "put" | "delete";
  /** Express path: `/client-data/wishlist/:productId`. */
  readonly path: string;
  readonly summary: string;
  readonly operationId: string;
  /** Area word; the tag in the document and the label in metrics and logs. */
  readonly area: string;
  /** Default `customer`. */
  readonly access?: Access;
  /** Names of rate limits that this route draws from; default `reads` for GET, else `writes`. */
  readonly limits?: readonly string[];
  /** A command that passes although the account is locked: what it is about decides for itself. Default false. */
  readonly whileLocked?: boolean;
  /** What the 429 of this route says when one of them is spent; default `RATE_LIMITED`. */
  readonly limitCode?: ProblemCode;
  readonly request?: {
    readonly params?: z.ZodObject;
    readonly query?: z.ZodType;
    /** A JSON body; absent means none is expected, and one that comes is ignored. */
    readonly body?: z.ZodType;
    /** A body that is not JSON reaches the handler as a Buffer in `req.body`. */
    readonly raw?: { readonly contentType: string; readonly limitBytes: number };
    /**
     * A form with files, for the OpenAPI document. The frame reads none of it: the handler streams it (`uploads.ts`),
     * and files must never be in memory as a whole.
     */
    readonly form?: z.ZodObject;
  };
  /** Successful answers by status. */
  readonly responses: Readonly<Record<number, RouteResponse>>;
  /** Refusals besides the ones every route has. */
  readonly problems?: readonly ProblemCode[];
  /** How long a client waits for the answer to begin, whatever hangs behind it; see `patience.ts`. Default 8 s. */
  readonly patienceMs?: number;
  readonly handler: (req: Request, res: Response) => void | Promise<void>;
};
