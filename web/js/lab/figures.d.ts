/** The figures of `GET /api/lab`, as the OpenAPI document describes them. */

export type Unit = "ratio" | "seconds" | "bytes" | "cores" | "count" | "per_second";

export interface Evidence { name: string; value: number; unit: Unit; limit: number }

export interface Diagnosis {
  what: string; subject: string | null; confidence: number; sentence: string; since: number; evidence: Evidence[];
  remedy: string; wouldRefute: string; nearest: { what: string; used: number }; forSeconds: number;
  latency: { part: string; p50Ms: number; p99Ms: number; share: number }[];
}

export interface Stage {
  stage: string; isOnTheWay: boolean; worker: string | null; utilisation: number; waitP99Seconds: number | null;
  backlog: number; backlogPeak: number; perSecond: number;
}

export interface Part { part: string; seconds: number; noLoadSeconds: number | null }

export interface Point {
  second: number; connections: number; messagesPerSecond: number; deliveriesPerSecond: number; cpuCores: number;
  memoryBytes: number | null; utilisation: number; deliveryP50Seconds: number | null; deliveryP99Seconds: number | null;
}

export interface SlowClient { clientId: string | null; worker: string; bytes: number; waitedSeconds: number }

export interface BusyRoom { room: string | null; deliveriesPerSecond: number }

export interface Figures {
  server: string; uptimeSeconds: number; diagnosis: Diagnosis; stages: Stage[];
  latency: { meanSeconds: number | null; parts: Part[] };
  limits: Evidence[]; points: Point[]; names: { clients: SlowClient[]; rooms: BusyRoom[] } | null;
}
