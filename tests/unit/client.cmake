foreach(name account sign answer http tls)
  slsr_unit(client_${name}_test client_${name}_test.c)
endforeach()
target_link_libraries(client_tls_test PRIVATE PkgConfig::SSL PkgConfig::CRYPTO PkgConfig::CURL)
