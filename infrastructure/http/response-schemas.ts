import { z } from "zod";

/** The wrapper of one record, for the OpenAPI document. */
export function recordOf(data: z.ZodType): z.ZodObject {
  return z.object({
    pk: z.string(),
    sk: z.string(),
    datatype: z.string(),
    version: z.int(),
    state: z.string(),
    createdate: z.iso.datetime(),
    modifydate: z.iso.datetime(),
    data,
  });
}

/**
 * A page of records, for the OpenAPI document.
 *
 * @param also further members of the envelope
 */
export function listOf(data: z.ZodType, also: z.ZodRawShape = {}): z.ZodObject {
  return pageOf(recordOf(data), also);
}

/** A page of entries that are no records, for the OpenAPI document. */
export function pageOf(entry: z.ZodType, also: z.ZodRawShape = {}): z.ZodObject {
  return z.object({
    data: z.array(entry),
    total: z.int().optional(),
    totalPages: z.int().optional(),
    hasNext: z.boolean(),
    page: z.int().optional(),
    pageSize: z.int(),
    nextCursor: z.string().optional(),
    ...also,
  });
}
