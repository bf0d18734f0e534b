import Mocha from "mocha";

/** What the test process of one or more spec files tells `test/run.mjs` when it is done. */
export interface TestReport {
  passed: number;
  skipped: number;
  failures: { title: string; stack: string }[];
}

/** Mocha's own spec reporter, which also sends the counts to the parent process when there is one. */
export class ReportingSpec extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const report: TestReport = { passed: 0, skipped: 0, failures: [] };
    runner.on("pass", () => {
      report.passed += 1;
    });
    runner.on("pending", () => {
      report.skipped += 1;
    });
    runner.on("fail", (test, error) => {
      report.failures.push({ title: test.titlePath().join(" > "), stack: String(error?.stack ?? error) });
    });
    runner.on("end", () => {
      process.send?.(report);
      process.disconnect?.();
    });
  }
}

// Mocha takes a reporter module's default export.
export default ReportingSpec;
