import { createQueryId, type Compilable, type CompiledQuery, type Kysely, type QueryResult } from 'kysely';

import type { Schema } from './schema.ts';

/** Stands for the value of a parameter while the query is built. */
class Parameter {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/** Where queries run. */
export interface QueryPlace {
  readonly kind: 'sqlite' | 'postgres';
  readonly db: Kysely<Schema>;
}

/**
 * A query that is built once for each kind of database. Building one takes longer than SQLite takes to execute it.
 *
 * @param names of all values. `build` gets a parameter in place of each value, so it must not look at them
 */
export function prepared<Values extends object, Row>(
  names: readonly (keyof Values & string)[],
  build: (place: QueryPlace, values: Values) => Compilable<Row>,
): (place: QueryPlace, values: Values) => Promise<QueryResult<Row>> {
  const known = new Map<QueryPlace['kind'], CompiledQuery<Row>>();
  const stand = Object.fromEntries(names.map((name) => [name, new Parameter(name)])) as Values;
  return (place, values) => {
    const query = known.get(place.kind) ?? build(place, stand).compile();
    known.set(place.kind, query);
    const parameters = query.parameters.map((each) =>
      each instanceof Parameter ? values[each.name as keyof Values] : each,
    );
    return place.db.executeQuery({ ...query, queryId: createQueryId(), parameters });
  };
}
