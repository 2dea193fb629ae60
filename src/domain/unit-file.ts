/** Rendered text of one unit, named as the engine that takes it wants it. */
export interface UnitFile {
  /** `dinp-blog--web--v3--1.service` */
  name: string;
  text: string;
}
