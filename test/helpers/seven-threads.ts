// Imported before the library, so that calls may really use seven threads whatever the machine has.
process.env['FUSED_ATTENTION_THREADS'] = '7';
