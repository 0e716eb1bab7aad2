/*
 * analyze.c
 *	  ANALYZE of enc_bytea columns.
 *
 * No two randomized values are alike, so sorting a sample of them finds
 * nothing, and common values and a histogram of them would put thousands of
 * ciphertexts into pg_statistic for no plan's benefit.  They get null
 * fraction, width and a distinct count of "all".  Deterministic ciphertext
 * repeats as its plaintext does and gets the usual statistics.
 */
#include "postgres.h"

#include "commands/vacuum.h"

#include "compat.h"
#include "enc_bytea.h"
#include "envcrypt.h"

PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_typanalyze);

/* What std_typanalyze chose, to be given back to its function. */
typedef struct StdChoice
{
	AnalyzeAttrComputeStatsFunc compute_stats;
	void	   *extra_data;
} StdChoice;

/* Counts over a sample. */
typedef struct Sample
{
	int			nulls;
	int			values;
	double		width;			/* sum */
	bool		randomized;		/* a value not of suite 03 was seen */
} Sample;

static void
look_at_sample(VacAttrStats *stats, AnalyzeAttrFetchFunc fetchfunc, int samplerows, Sample *s)
{
	for (int i = 0; i < samplerows; i++)
	{
		bool		isnull;
		Datum		value;

		compat_analyze_delay_point();
		value = fetchfunc(stats, i, &isnull);
		if (isnull)
		{
			s->nulls++;
			continue;
		}
		s->values++;
		s->width += VARSIZE_ANY(DatumGetPointer(value));
		s->randomized = s->randomized || envcrypt_datum_suite(value) != EVC_SUITE_SIV;
	}
}

static void
compute_stats(VacAttrStats *stats, AnalyzeAttrFetchFunc fetchfunc, int samplerows, double totalrows)
{
	StdChoice  *std = stats->extra_data;
	Sample		s = {0};

	look_at_sample(stats, fetchfunc, samplerows, &s);
	if (!s.randomized)
	{
		stats->extra_data = std->extra_data;
		std->compute_stats(stats, fetchfunc, samplerows, totalrows);
		stats->extra_data = std;
		return;
	}
	stats->stats_valid = true;
	stats->stanullfrac = (double) s.nulls / samplerows;
	stats->stawidth = s.width / s.values;
	stats->stadistinct = -1.0 * (1.0 - stats->stanullfrac);
}

Datum
envcrypt_enc_bytea_typanalyze(PG_FUNCTION_ARGS)
{
	VacAttrStats *stats = (VacAttrStats *) PG_GETARG_POINTER(0);
	StdChoice  *std;

	if (!std_typanalyze(stats))
		PG_RETURN_BOOL(false);
	if (stats->attrtypmod == ENC_BYTEA_DETERMINISTIC)
		PG_RETURN_BOOL(true);

	std = MemoryContextAlloc(stats->anl_context, sizeof(StdChoice));
	std->compute_stats = stats->compute_stats;
	std->extra_data = stats->extra_data;
	stats->compute_stats = compute_stats;
	stats->extra_data = std;
	PG_RETURN_BOOL(true);
}
