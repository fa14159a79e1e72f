// JSON has no enums: where Grafana's types want one, its text will do.
export type Plain<T> = T extends string
  ? `${T}`
  : T extends object
    ? { [K in keyof T]: Plain<T[K]> }
    : T;
