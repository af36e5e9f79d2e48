slsr_unit(relay_host_test relay_host_test.c)
