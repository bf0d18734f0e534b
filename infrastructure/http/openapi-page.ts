import type { Express, NextFunction, Request, Response } from "express";
import swaggerUi from "swagger-ui-express";

/** Serves the page that shows `/openapi.json`, at `/docs`: Swagger UI from its own package, so it works offline. */
export function serveDocumentPage(app: Express): void {
  const page = (_req: Request, res: Response, next: NextFunction) => {
    res.locals.route = "/docs";
    // The page styles itself inline and loads nothing from elsewhere.
    const policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";
    res.setHeader("Content-Security-Policy", policy);
    next();
  };
  app.use("/docs", page, swaggerUi.serve, swaggerUi.setup(undefined, { swaggerUrl: "../openapi.json" }));
}
