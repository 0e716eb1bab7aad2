/*
 * guc.h
 *	  Settings of envcrypt; docs/settings.md describes them.
 */
#ifndef ENVCRYPT_GUC_H
#define ENVCRYPT_GUC_H

extern char *envcrypt_local_key_file;
extern char *envcrypt_default_root_keys;
extern bool envcrypt_allow_destroy;
extern bool envcrypt_allow_maintenance_decrypt;
extern bool envcrypt_own_key_usable;

/* Define that last one, which is for envcrypt alone. */
extern void envcrypt_guc_own_key_usable(void);

#endif							/* ENVCRYPT_GUC_H */
