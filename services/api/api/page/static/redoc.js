// The documentation of the API in Redoc, without its search, which would need a script from a blob.

Redoc.init("/openapi.json", { disableSearch: true, hideLoading: true }, document.getElementById("redoc"));
