import type { RouteDefinition } from "#infrastructure/http/routes.js";

/**
 * Marks routes as the platform's own: only a token of type `service` passes, no customer's limits apply, and the
 * gateway answers 404 for all of them.
 *
 * @throws Error for a path outside `/internal/`: it would be reachable through the gateway
 */
export function internalRoutes(routes: readonly RouteDefinition[]): RouteDefinition[] {
  return routes.map((route) => {
    if (!route.path.startsWith("/internal/")) throw new Error(`${route.path} does not start with /internal/`);
    return { ...route, access: "service", limits: [] };
  });
}
