/* Which sources a build was made of; workers/native/sources.py reads it from its file, build.py sets the macro. */

const char qsweep_sources[] = "qsweep kernel sources " QSWEEP_SOURCES;
