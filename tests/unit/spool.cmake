slsr_unit(spool_test spool_test.c)
