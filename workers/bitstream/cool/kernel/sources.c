/* Which sources a build was made of, for workers/native to read from its file; the macro is set there. */

const char qsweep_sources[] = "qsweep kernel sources " QSWEEP_SOURCES;
