evoke_add_test(NAME rpc_layer_test KIND component SOURCES rpc_layer_test.cc LINK evoke_service)
evoke_add_test(NAME metrics_test KIND component SOURCES metrics_test.cc LINK evoke_metrics)
evoke_add_test(NAME http_test KIND component SOURCES http_test.cc LINK evoke_http)
evoke_add_test(NAME server_test KIND component SOURCES server_test.cc LINK evoke_server)
