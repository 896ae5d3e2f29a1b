// The documentation of the API in Swagger UI, which the page of FastAPI would load from a CDN.

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
});
