/* Which sources a build was made of, for library.py to read from its file; the macro is set by build.py. */

const char qsweep_sources[] = "qsweep kernel sources " QSWEEP_SOURCES;
